"""Children of the tests are as closed as the tests are: Python imports this file when it starts."""

from loopback import refuse_strangers

refuse_strangers()
