import { z } from 'zod';
import { TOPICS, type TopicForm } from './schemas.ts';

/** JSON Schemas (draft 2020-12) of every message, by name. */
export function messageSchemas(): Record<string, unknown> {
  return Object.fromEntries(
    TOPICS.map((form) => [
      form.name,
      z.toJSONSchema(form.schema, {
        io: form.action === 'receive' ? 'input' : 'output',
        unrepresentable: 'any',
        reused: 'inline',
      }),
    ]),
  );
}

/** The outside form on MQTT as one AsyncAPI 3.0.0 document. Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0 */
export function asyncApiDocument(): unknown {
  const schemas = messageSchemas();
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Switchyard site agent',
      version: '1.0.0',
      description:
        'Messages of one site below `<root>/v1/<site>/`: JSON, UTF-8, QoS 1, at most 128 kB. Powers are watts, energies watt-hours, times epoch milliseconds; null means not known. Unknown fields must be accepted.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      broker: {
        host: 'broker.example:8883',
        protocol: 'secure-mqtt',
        description: 'Any MQTT 5 or 3.1.1 broker.',
      },
    },
    channels: Object.fromEntries(TOPICS.map((form) => [form.name, channelOf(form)])),
    operations: Object.fromEntries(TOPICS.map((form) => [`${form.action}-${form.name}`, operationOf(form)])),
    components: {
      messages: Object.fromEntries(
        TOPICS.map((form) => [
          form.name,
          {
            name: form.name,
            summary: form.summary,
            contentType: 'application/json',
            payload: { $ref: `#/components/schemas/${form.name}` },
          },
        ]),
      ),
      schemas,
    },
  };
}

function channelOf(form: TopicForm): unknown {
  const own = [...form.topic.matchAll(/\{([a-z]+)\}/g)].map((match) => match[1]!);
  const descriptions: Record<string, string> = {
    root: 'Root of the topics, `switchyard` by default',
    site: 'Id of the site',
    id: 'Id of the order or hand-over',
    part: 'Number of the part, from 0',
  };
  return {
    address: `{root}/v1/{site}/${form.topic}`,
    description:
      form.deflated === true ? `${form.summary} Deflated on \`.../z\` where configured.` : form.summary,
    parameters: Object.fromEntries(
      ['root', 'site', ...own].map((name) => [name, { description: descriptions[name] }]),
    ),
    messages: { [form.name]: { $ref: `#/components/messages/${form.name}` } },
  };
}

function operationOf(form: TopicForm): unknown {
  return {
    action: form.action,
    channel: { $ref: `#/channels/${form.name}` },
    summary: form.summary,
    messages: [{ $ref: `#/channels/${form.name}/messages/${form.name}` }],
    bindings: { mqtt: { qos: 1, retain: form.retained, bindingVersion: '0.2.0' } },
    ...(form.name === 'order'
      ? {
          reply: {
            channel: { $ref: '#/channels/answer' },
            messages: [{ $ref: '#/channels/answer/messages/answer' }],
          },
        }
      : {}),
  };
}
