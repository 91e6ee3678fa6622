"""Avro's binary form, value by value: what is written reads back exactly, or is refused.

``write`` makes the function that writes a type's values and refuses those that would come back
changed (``Unfit``: the field's path and the reason), ``read`` the one that reads them, ``logical``
holds the logical types, ``alike`` says which branches of a union Python cannot tell apart.
The codec calls them for whatever the generated functions of ``compiled/`` leave aside.
"""
