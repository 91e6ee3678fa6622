"""Whether the readers of one version of a schema can read what another version writes.

In: two schemas as JSON, or a project's types and the versions that are elsewhere (a commit, the
registry). Out: what speaks against them, all of it at once, with how to mend each. Called by
``trunkline schemas check``. ``resolve.py`` knows the rules, ``project.py`` what is compared with
what, ``exceptions.py`` what is let through on purpose, ``formats.py`` how it is told.
"""
