"""Plain JSON to Avro values: what people and programs write who know nothing of Avro.

``parse`` turns bytes into JSON without losing a digit, or says at which line and column they are
none; ``read`` turns JSON into a type's values and finds all that is wrong with it at once, each
with a JSON pointer; ``document`` describes the same as JSON Schema. docs/schemas.md has the forms.
"""
