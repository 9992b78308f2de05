"""The only folder of the worker that knows AMQP and RabbitMQ.

| module | what it is |
| --- | --- |
| `names` | exchanges, queues and headers, by name |
| `incoming` | one message as it came, before anything in it is believed |
| `codec` | message to `Job` or `Unreadable`; `Job` to parked copy |
| `deadletters` | dead letters, replay copies and quarantined messages: written and read |
| `address` | where the broker is, and what its refusals mean |
| `frames` | the bytes of what every job needs: delivery, publish, confirm, ack |
| `channels` | the AMQP library's connections and channels, which those frames pass by |
| `connection` | a connection that is made again when it is lost; its channels are not |
| `trouble` | tells an operator what is wrong, at a bounded rate |
| `publisher` | publishes until the broker has confirmed |
| `delivery` | the port `Delivery` |
| `intake` | one consumer per tier and lane |
| `asks` | what tenants and operators ask about jobs, and the answers |
| `replay` | dead letters back into their queues, for operators |
| `queues` | the arguments of the queues, by queue type |
| `topology` | what the broker must hold, as a value |
| `rights` | who may do what on it |
| `definitions` | the topology in RabbitMQ's own format |
| `comparison` | how a broker's topology differs from that value |
| `inspection` | one look at a broker over AMQP, as its user sees it |
| `management` | RabbitMQ's management API |

A delivery may be settled only on the very channel that it came on. The channels here are made of the AMQP library's
own, which live exactly as long as the broker's, so an ack can never go astray.
"""
