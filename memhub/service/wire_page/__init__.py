"""Makes `docs/protocol.md` and what belongs to it from the message classes of `service/wire`.

`python -m memhub.service.wire_page docs` writes the files; a test compares them. Clients do not
import this package.

template.md  the prose           tables       the tables of frames    vectors  the examples
schemas      the JSON bodies     body_tables  the tables of bodies
"""
