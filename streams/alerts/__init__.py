"""What people are told, by one voice for all workers of a flow.

In comes what steps see: dead letters, lag, an outage that lasts. Out go messages to the channels of
an environment. ``conditions`` collects what one worker sees, ``alarm`` is what all of them together
know, shared through the control topic and merged in any order, and ``manager`` decides once a
second which message is due and who sends it. ``unhandled`` counts what is left of dead letters,
``outbox`` sends messages, as often as it takes. All of it runs in the event loop; mail is sent, and
dead letters are counted, in a thread.
"""
