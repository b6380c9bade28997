# Binary mode: the attributes are headers, the message is the payload.
# --jetstream waits until the event is stored; without --no-templates the command replaces {{…}} in your payload.
nats pub events.acme.com.acme.order.created --jetstream --no-templates \
  -H 'ce-specversion:1.0' -H 'ce-type:com.acme.order.created' -H 'ce-source:/shop' -H 'ce-id:1001' \
  -H 'ce-subject:Z%C3%BCrich' -H 'ce-datacontenttype:application/json' -H 'Nats-Msg-Id:acme/shop/1001' \
  '{"order":1001,"total":19.90}'

# Structured mode: the message is the whole event.
nats pub events.acme.com.acme.order.created --jetstream --no-templates \
  -H 'Content-Type:application/cloudevents+json' -H 'Nats-Msg-Id:acme/shop/1002' \
  '{"specversion":"1.0","type":"com.acme.order.created","source":"/shop","id":"1002","subject":"Zürich","datacontenttype":"application/json","data":{"order":1002,"total":19.90}}'
