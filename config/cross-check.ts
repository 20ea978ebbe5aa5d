import { nearest } from './problem.ts';
import type { Config } from './schema.ts';

/** A finding about how parts of a configuration fit together. */
export interface CrossFinding {
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly hint?: string;
}

/** What a schema cannot see: references, cycles, double use. Pure; one entry per finding. */
export function crossCheck(config: Config): readonly CrossFinding[] {
  const findings: CrossFinding[] = [];
  const limitIds = new Set(config.limits.map((limit) => limit.id));
  const meterIds = new Set(config.meters.map((meter) => meter.id));
  const nodeIds = new Set(config.gpuNodes.map((node) => node.id));
  const tenantIds = new Set(config.tenants.map((tenant) => tenant.id));
  const reference = (path: PropertyKey[], value: string | undefined, known: Set<string>, what: string) => {
    if (value === undefined || known.has(value)) return;
    const near = nearest(value, known);
    findings.push({
      severity: 'error',
      code: 'unknown-reference',
      path,
      message: `there is no ${what} "${value}".`,
      ...(near === null
        ? {
            hint:
              known.size === 0 ? `No ${what} is configured.` : `Known: ${[...known].slice(0, 8).join(', ')}.`,
          }
        : { hint: `Did you mean "${near}"?` }),
    });
  };
  duplicates(config, findings);
  const issuerIds = new Set(config.issuers.map((issuer) => issuer.id));
  const unsigned = (path: PropertyKey[], id: string) => {
    reference(path, id, issuerIds, 'issuer');
    const issuer = config.issuers.find((candidate) => candidate.id === id);
    if (issuer !== undefined && !issuer.unsigned)
      findings.push({
        severity: 'error',
        code: 'unsigned-source',
        path,
        message: `"${issuer.id}" must sign its orders, and this form carries no signature.`,
        hint: 'Name an issuer of its own with `unsigned: true`, only on a broker you trust.',
      });
  };
  config.mqtt?.targets.forEach((target, index) => {
    reference(['mqtt', 'targets', index, 'limit'], target.limit, limitIds, 'limit');
    unsigned(['mqtt', 'targets', index, 'issuer'], target.issuer);
  });
  const { sparkplug } = config;
  if (sparkplug?.issuer !== undefined) unsigned(['sparkplug', 'issuer'], sparkplug.issuer);
  if (sparkplug !== undefined && sparkplug.url === undefined && config.mqtt === undefined)
    findings.push({
      severity: 'error',
      code: 'sparkplug-without-broker',
      path: ['sparkplug'],
      message: 'there is no broker: neither `sparkplug.url` nor `mqtt` names one.',
    });
  for (const key of ['secondUrl', 'username', 'password', 'ca', 'cert', 'key'] as const)
    if (sparkplug?.[key] !== undefined && sparkplug.url === undefined)
      findings.push({
        severity: 'error',
        code: 'sparkplug-access-without-url',
        path: ['sparkplug', key],
        message: 'without `sparkplug.url` the broker and its access are those of `mqtt`.',
        hint: 'Give `sparkplug.url` too, or leave this out.',
      });
  const workloadIds = new Set(config.workloads.map((workload) => workload.id));
  config.transfers.askers.forEach((asker, index) => {
    const path = ['transfers', 'askers', index];
    unsigned([...path, 'issuer'], asker.issuer);
    reference([...path, 'workload'], asker.workload, workloadIds, 'workload');
    if (asker.topic === undefined && asker.token === undefined)
      findings.push({
        severity: 'error',
        code: 'asker-without-way',
        path,
        message: `"${asker.id}" has no way to ask: it has neither a topic nor a token.`,
      });
  });
  config.limits.forEach((limit, index) => {
    reference(['limits', index, 'parent'], limit.parent, limitIds, 'limit');
    reference(['limits', index, 'meter'], limit.meter, meterIds, 'meter');
    if (limit.average !== undefined && limit.meter === undefined)
      findings.push({
        severity: 'error',
        code: 'average-without-meter',
        path: ['limits', index, 'average'],
        message: `nothing measures the average of "${limit.id}".`,
        hint: 'Name its `meter`, or give the average to the limit above that has one.',
      });
    if (limit.thermal !== undefined && limit.meter === undefined)
      findings.push({
        severity: 'error',
        code: 'thermal-without-meter',
        path: ['limits', index, 'thermal'],
        message: `nothing measures what "${limit.id}" carries.`,
        hint: 'Name its `meter`, or give `thermal` to the limit above that has one.',
      });
    if (limit.thermal !== undefined && (limit.thermal.continuous <= 0 || limit.thermal.timeConstant < 60_000))
      findings.push({
        severity: 'error',
        code: 'thermal-out-of-range',
        path: ['limits', index, 'thermal'],
        message: '`thermal` needs a load above 0 and a time constant of a minute at least.',
      });
  });
  tree(config, findings);
  config.loads.forEach((load, index) => {
    reference(['loads', index, 'limit'], load.limit, limitIds, 'limit');
  });
  config.miners.forEach((miner, index) => {
    reference(['miners', index, 'limit'], miner.limit, limitIds, 'limit');
    reference(['miners', index, 'tenant'], miner.tenant, tenantIds, 'tenant');
  });
  config.gpuNodes.forEach((node, index) => {
    reference(['gpuNodes', index, 'limit'], node.limit, limitIds, 'limit');
    reference(['gpuNodes', index, 'tenant'], node.tenant, tenantIds, 'tenant');
    oneCovers(node, index, findings);
  });
  config.workloads.forEach((workload, index) => {
    workload.nodes.forEach((node, position) => {
      reference(['workloads', index, 'nodes', position], node, nodeIds, 'GPU node');
    });
    const most = config.gpuNodes
      .filter((node) => workload.nodes.includes(node.id))
      .reduce((sum, node) => sum + node.nameplate, 0);
    if (workload.firm + workload.flexible > most && most > 0) {
      findings.push({
        severity: 'warning',
        code: 'workload-above-nameplate',
        path: ['workloads', index],
        message: `firm and flexible watts (${workload.firm + workload.flexible} W) are more than its nodes can draw (${most} W).`,
      });
    }
  });
  config.issuers.forEach((issuer, index) => {
    if (issuer.limits !== 'all') {
      issuer.limits.forEach((limit, position) => {
        reference(['issuers', index, 'limits', position], limit, limitIds, 'limit');
      });
    }
    if (issuer.key === undefined && !issuer.unsigned) {
      findings.push({
        severity: 'error',
        code: 'issuer-without-key',
        path: ['issuers', index],
        message: `"${issuer.id}" can order nothing: it has no key.`,
        hint: 'Give its Ed25519 public key as `key: {file: PATH}`, or `unsigned: true` on a broker you trust.',
      });
    }
  });
  config.conversions.forEach((conversion, index) => {
    reference(['conversions', index, 'limit'], conversion.limit, limitIds, 'limit');
    conversion.steps.forEach((step, position) => {
      step.nodes.forEach((node, at) => {
        reference(['conversions', index, 'steps', position, 'nodes', at], node, nodeIds, 'GPU node');
      });
      const before = conversion.steps[position - 1];
      if (before !== undefined && before.from >= step.from) {
        findings.push({
          severity: 'error',
          code: 'steps-out-of-order',
          path: ['conversions', index, 'steps', position, 'from'],
          message: 'steps stand in the order of their dates.',
        });
      }
    });
  });
  return findings;
}

/** What Redfish reads and limits is the whole node: caps of single GPUs and a host part do not go with it. */
function oneCovers(node: Config['gpuNodes'][number], index: number, findings: CrossFinding[]): void {
  const isWhole = node.reader.kind === 'redfish';
  if (isWhole ? node.cap.kind !== 'redfish' && node.cap.kind !== 'none' : node.cap.kind === 'redfish')
    findings.push({
      severity: 'error',
      code: 'cap-without-reader',
      path: ['gpuNodes', index, 'cap'],
      message: isWhole
        ? `a node that is read by Redfish is capped by Redfish or not at all, not by ${node.cap.kind}.`
        : `a cap by Redfish covers the whole node and needs \`reader: { kind: redfish, ... }\` to show it.`,
    });
  if (isWhole && node.hostWatts !== undefined)
    findings.push({
      severity: 'error',
      code: 'host-in-reading',
      path: ['gpuNodes', index, 'hostWatts'],
      message: 'what Redfish shows is the whole node: its host part is in it already.',
    });
}

function duplicates(config: Config, findings: CrossFinding[]): void {
  const check = (key: string, ids: readonly string[]) => {
    const seen = new Map<string, number>();
    ids.forEach((id, index) => {
      const first = seen.get(id);
      if (first === undefined) seen.set(id, index);
      else {
        findings.push({
          severity: 'error',
          code: 'duplicate-id',
          path: [key, index, 'id'],
          message: `"${id}" is already the id of ${key}[${first}].`,
        });
      }
    });
  };
  for (const key of [
    'limits',
    'loads',
    'meters',
    'workloads',
    'tenants',
    'issuers',
    'conversions',
  ] as const) {
    check(
      key,
      config[key].map((entry) => entry.id),
    );
  }
  check(
    'miners',
    config.miners.map((entry) => entry.id),
  );
  check(
    'gpuNodes',
    config.gpuNodes.map((entry) => entry.id),
  );
  const measures = new Map<string, string>();
  config.limits.forEach((limit, index) => {
    if (limit.meter === undefined) return;
    const other = measures.get(limit.meter);
    if (other !== undefined) {
      findings.push({
        severity: 'error',
        code: 'meter-used-twice',
        path: ['limits', index, 'meter'],
        message: `the meter "${limit.meter}" already measures the limit "${other}": a meter proves one limit.`,
      });
    } else measures.set(limit.meter, limit.id);
  });
}

function tree(config: Config, findings: CrossFinding[]): void {
  const parents = new Map(config.limits.map((limit) => [limit.id, limit.parent]));
  const roots = config.limits.filter((limit) => limit.parent === undefined);
  if (roots.length === 0) {
    findings.push({
      severity: 'error',
      code: 'no-root',
      path: ['limits'],
      message: 'one limit must have no parent: the grid connection.',
    });
  }
  config.limits.forEach((limit, index) => {
    const seen = new Set<string>();
    for (let at: string | undefined = limit.id; at !== undefined; at = parents.get(at)) {
      if (seen.has(at)) {
        findings.push({
          severity: 'error',
          code: 'limit-cycle',
          path: ['limits', index, 'parent'],
          message: `"${limit.id}" is above itself: ${[...seen, at].join(' -> ')}.`,
        });
        return;
      }
      seen.add(at);
    }
  });
  for (const [index, root] of config.limits.entries()) {
    if (
      root.parent === undefined &&
      root.meter === undefined &&
      root.authority !== undefined &&
      root.authority !== 'observe'
    ) {
      findings.push({
        severity: 'warning',
        code: 'unmetered-root',
        path: ['limits', index],
        message: `"${root.id}" has no meter: the agent can only go by nameplates and what devices claim.`,
        hint: 'Name its meter as `meter: ID`.',
      });
    }
  }
}
