"""An ERP's OpenAPI document, of which flows of tests take operations."""

from __future__ import annotations

ERP_YAML = """openapi: 3.1.0
info: {title: ERP, version: '7'}
servers: [{url: 'https://erp.example/v1'}]
paths:
  /orders/{orderId}:
    get:
      operationId: getOrder
      tags: [orders]
      summary: An order, as the ERP has it.
      parameters:
        - {name: orderId, in: path, required: true, schema: {type: string, maxLength: 20}}
        - {name: expand, in: query, schema: {type: array, items: {enum: [lines, customer]}}}
        - {name: X-Region, in: header, schema: {type: string}}
      responses:
        '200':
          description: it
          content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}
    patch:
      operationId: patch-order
      parameters: [{name: orderId, in: path, required: true, schema: {type: string}}]
      requestBody:
        required: true
        content: {application/merge-patch+json: {schema: {type: object}}}
      responses: {'204': {description: done}}
  /orders/{orderId}/credit-notes:
    post:
      operationId: createCreditNote
      tags: [orders]
      summary: Give money back.
      parameters: [{name: orderId, in: path, required: true, schema: {type: string}}]
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/CreditNote'}}}
      responses: {'201': {description: done}}
  /search:
    post:
      operationId: search
      requestBody: {content: {application/json: {schema: {type: object}}}}
      responses: {'200': {description: them}}
  /files:
    post:
      operationId: upload
      requestBody: {content: {multipart/form-data: {schema: {type: object}}}}
      responses: {'200': {description: done}}
components:
  schemas:
    Order:
      type: object
      required: [id, total]
      properties: {id: {type: string}, total: {type: number}, status: {enum: [open, paid]}}
    CreditNote:
      type: object
      required: [amount, lines]
      additionalProperties: false
      properties:
        amount: {type: number, exclusiveMinimum: 0}
        reason: {type: [string, 'null'], maxLength: 10}
        lines: {type: array, items: {$ref: '#/components/schemas/Line'}}
    Line:
      type: object
      required: [sku]
      additionalProperties: false
      properties: {sku: {type: string}, quantity: {type: integer, minimum: 1}}
"""
NOTE = {"amount": 12.5, "lines": [{"sku": "a", "quantity": 2}]}

FLOW = '''"""Others read orders of the ERP, and give money back."""

import os

from trunkline import Event, Flow, OpenAPI, Params, Retry
from trunkline.connectors.http import HttpSink
from trunkline.schemas.commerce import Order


class Env(Params):
    erp_url: str


flow = Flow(os.environ.get("FLOW", "erp-api"), Env)
orders = flow.existing_topic(os.environ.get("TOPIC", "commerce.orders"), Order)


@flow.destination(retry=Retry("1s", "2s"))
def erp(env: Env) -> HttpSink[Order]:
    return HttpSink(env.erp_url, Order, timeout=5)


api = flow.import_operations(
    erp,
    OpenAPI("erp.yaml"),
    only=["getOrder", "createCreditNote", "patch-order", "search"],
    rename={"getOrder": "get_order"},
    reads=["search"],
    key={"createCreditNote": "/orderId", "patch-order": "orderId"},
    cost={"createCreditNote": 5},
    wait={"createCreditNote": "20s"},
    doubt={"patch-order": "check:get_order"},
)


@flow.route(orders, to=api["createCreditNote"])
def credit(order: Event[Order]) -> dict[str, object] | None:
    if order.data["status"] != "returned":
        return None
    amount = order.data["total_cents"] / 100
    return {"orderId": order.data["id"], "body": {"amount": amount, "lines": []}}
'''
