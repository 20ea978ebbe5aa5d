import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { asyncApiDocument, messageSchemas } from '../../../../agent/telemetry/asyncapi.ts';
import { formOf, TOPICS } from '../../../../agent/telemetry/schemas.ts';

const REFERENCE = join(import.meta.dirname, '..', '..', '..', '..', 'docs', 'reference');
const file = (name: string) => JSON.parse(readFileSync(join(REFERENCE, name), 'utf8')) as unknown;
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as Record<string, never>;

describe('the documents that are generated from the schemas', () => {
  it.each([
    ['messages.schema.json', 'messages', messageSchemas],
    ['asyncapi.json', 'asyncapi', asyncApiDocument],
  ] as const)('%s is current (write it with: switchyard schema %s)', (name, _what, make) => {
    expect(file(name)).toEqual(plain(make()));
  });

  it('are JSON Schemas that a validator takes', () => {
    const ajv = new Ajv2020({ strict: false });
    for (const [name, schema] of Object.entries(messageSchemas()))
      expect(ajv.validateSchema(schema as object), name).toBe(true);
  });

  it('form an AsyncAPI document that the JSON Schema of its specification takes', () => {
    const specification = JSON.parse(
      readFileSync(createRequire(import.meta.url).resolve('@asyncapi/specs/schemas/3.0.0.json'), 'utf8'),
    ) as object;
    // The file brings the schema of its schemas along.
    const validate = new Ajv({
      strict: false,
      allErrors: true,
      validateFormats: false,
      meta: false,
      validateSchema: false,
    }).compile(specification);
    const findings = (change: (document: Record<string, Record<string, never>>) => void) => {
      const document = plain(asyncApiDocument());
      change(document as never);
      validate(document);
      return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
    };
    expect(findings(() => undefined)).toEqual([]);
    // It finds what is wrong.
    const wrong: ((document: Record<string, Record<string, object>>) => void)[] = [
      (document) => Object.assign(document, { asyncapi: '2.6.0' }),
      (document) => Object.assign(document['operations']!['send-state']!, { action: 'publish' }),
      (document) => delete (document['info'] as Record<string, unknown>)['version'],
      (document) => Object.assign(document['channels']!['state']!, { adress: 'x' }),
      (document) => Object.assign(document['servers']!['broker']!, { protocol: 5 }),
      (document) => Object.assign(document['operations']!['send-state']!, { bindings: { mqtt: { qos: 7 } } }),
    ];
    for (const change of wrong) expect(findings(change as never).length, String(change)).toBeGreaterThan(0);
  });

  /** Rules of the AsyncAPI 3.0.0 specification that this document can break. */
  it('form an AsyncAPI document whose parts refer to each other', () => {
    const document = plain(asyncApiDocument()) as unknown as {
      asyncapi: string;
      info: { title: string; version: string };
      servers: Record<string, { host: string; protocol: string }>;
      channels: Record<string, { address: string; parameters: object; messages: object }>;
      operations: Record<string, { action: string; channel: { $ref: string }; messages: { $ref: string }[] }>;
    };
    expect(document.asyncapi).toBe('3.0.0');
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    const resolve = (ref: string) =>
      ref
        .slice(2)
        .split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1]!);
    expect(refs.length).toBeGreaterThan(60);
    for (const ref of refs) expect(resolve(ref), ref).toBeDefined();
    for (const channel of Object.values(document.channels)) {
      const named = [...channel.address.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      expect(Object.keys(channel.parameters).sort()).toEqual(named.sort());
    }
    for (const operation of Object.values(document.operations)) {
      expect(['send', 'receive']).toContain(operation.action);
      for (const one of operation.messages)
        expect(one.$ref.startsWith(`${operation.channel.$ref}/messages/`)).toBe(true);
    }
    const addresses = Object.values(document.channels).map((channel) => channel.address);
    expect(new Set(addresses).size).toBe(addresses.length);
  });

  it('know every topic of the reference', () => {
    const reference = readFileSync(join(REFERENCE, 'topics.md'), 'utf8');
    for (const { topic } of TOPICS)
      expect(reference, topic).toContain(
        topic
          .replace(/\{.*/, '')
          .replace(/^hist\/(?!gap).*/, 'hist/')
          .replace(/\/$/, ''),
      );
    expect(formOf('tele/miners/z')?.name).toBe('teleMiners');
    expect(formOf('info/devices/12')?.name).toBe('infoDevices');
    expect(formOf('elsewhere')).toBeNull();
  });
});
