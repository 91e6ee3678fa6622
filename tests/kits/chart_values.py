"""Values of the chart, as releases have them: what the tests of the chart try all of."""

from __future__ import annotations

from typing import Any

IMAGE = {"image": {"repository": "registry.example.com/acme/flows", "digest": f"sha256:{'a' * 64}"}}
FILE = {
    "trunkline": {"bootstrap": "kafka:9093", "kafka": {"security.protocol": "SASL_SSL"}},
    "params": {"orders": {"crm_url": "https://crm.example.com"}},
}
SMALL = {**IMAGE, "flows": {"orders": {"file": "flows/orders.py"}}}
WHOLE: dict[str, Any] = {
    **IMAGE,
    "imagePullSecrets": [{"name": "pull"}],
    "environment": {"name": "prod", "file": FILE},
    "secrets": {"TRUNKLINE_PARAMS_CRM_TOKEN": {"name": "crm", "key": "token"}},
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "extraEnvFrom": [{"secretRef": {"name": "systems"}}],
    "commonLabels": {"team": "integration"},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True},
    },
    "networkPolicy": {"egressPorts": [9093, 443, 5432]},
    "extraObjects": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}
    ],
    "flows": {
        "orders": {
            "file": "flows/orders.py",
            "workers": {
                "source": {"steps": ["source"], "ports": {"notices": 8085}},
                "route": {"steps": ["route"], "replicas": 2, "data": {"size": "10Gi"}},
                "deliver": {"steps": ["deliver"], "replicas": 3, "gracePeriodSeconds": 120},
            },
        },
        "airport": {"file": "flows/airport.py"},
    },
}
AGENT = {
    **IMAGE,
    "environment": {"name": "plant-7"},
    "flows": {"orders": {"file": "flows/orders.py", "workers": {"source": {"steps": ["source"]}}}},
    "worker": {"nodeSelector": {"site": "plant-7"}, "tolerations": [{"operator": "Exists"}]},
    "serviceAccount": {"create": False},
}
GROUPED: dict[str, Any] = {
    **IMAGE,
    "flows": {
        "orders": {"file": "flows/orders.py"},
        "crm": {"file": "flows/crm.py", "group": "small"},
        "notices": {"file": "flows/notices.py", "group": "small"},
        "returns": {"file": "flows/returns.py", "group": "other"},
    },
    "groups": {
        "small": {"replicas": 2, "ports": {"notices": 8085}, "steps": ["route", "deliver"]},
        "other": {},
    },
}
SCALED: dict[str, Any] = {
    **WHOLE,
    "networkPolicy": {**WHOLE["networkPolicy"], "metricsFrom": [{"podSelector": {}}]},
    "worker": {"scaling": {"enabled": True, "min": 1}},
}
GATEWAY: dict[str, Any] = {
    **WHOLE,
    "networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
    "gateway": {
        "enabled": True,
        "flows": ["orders"],
        "access": {"secret": "access"},
        "from": [{"namespaceSelector": {"matchLabels": {"team": "integration"}}}],
        "ingress": {"enabled": True, "host": "api.example.com", "tlsSecret": "api-certificate"},
    },
}
STATIC: dict[str, Any] = {**SMALL, "worker": {"static": True, "replicas": 3}}
SETS = {
    "grouped": GROUPED,
    "scaled": {**SCALED, "flows": {"airport": {"file": "flows/airport.py"}}},
    "small": SMALL,
    "whole, hook": {**WHOLE, "apply": {"mode": "hook"}},
    "whole, job": {**WHOLE, "apply": {"mode": "job"}},
    "agent": AGENT,
    "gateway": GATEWAY,
    "static": STATIC,
}
