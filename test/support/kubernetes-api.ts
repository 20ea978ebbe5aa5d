import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FakeNode } from './fake-manager.ts';
import { bodyOf, type Shown, startTlsServer } from './tls-server.ts';

/**
 * An API server with one node `n1`, written from the published forms (core/v1, policy/v1, meta/v1 Status): merge
 * patches with their resource version, lists with a field selector and pages, evictions under disruption budgets.
 */

export interface FakePod {
  readonly name: string;
  readonly namespace?: string;
  uid?: string;
  /** What its container asks for. */
  readonly gpus?: number;
  readonly owner?: 'DaemonSet' | 'Job';
  readonly mirror?: boolean;
  readonly phase?: 'Running' | 'Pending' | 'Succeeded' | 'Failed';
  /** Its disruption budget allows no eviction now. */
  budgetSays?: 'no';
  /** Told to end; it goes when the test says so. */
  ending?: boolean;
}

type Json = Record<string, unknown>;
const HANDOVER = 'switchyard/handover';
const PAGE = 2;

export async function startKubernetesApi(options: { shown?: Shown; token?: string } = {}) {
  let token = options.token ?? 'first-token';
  let version = 100;
  let node = { cordoned: false, ready: true, annotations: {} as Record<string, string> };
  let pods: FakePod[] = [];
  let calls: string[] = [];
  let requests = 0;
  let broken: string | null = null;
  const denied = new Set<string>();
  /** Somebody else's change that comes between a reading and a write. */
  let meddle: (() => void) | null = null;

  const nodeJson = () => ({
    kind: 'Node',
    apiVersion: 'v1',
    metadata: { name: 'n1', resourceVersion: String(version), annotations: { ...node.annotations } },
    spec: { podCIDR: '10.1.0.0/24', ...(node.cordoned && { unschedulable: true }) },
    status: {
      capacity: { 'nvidia.com/gpu': '8' },
      conditions: [
        { type: 'MemoryPressure', status: 'False' },
        { type: 'Ready', status: node.ready ? 'True' : 'Unknown' },
      ],
    },
  });
  const podJson = (pod: FakePod) => ({
    metadata: {
      name: pod.name,
      namespace: pod.namespace ?? 'ai',
      uid: pod.uid ?? `uid-${pod.name}`,
      ...(pod.mirror && { annotations: { 'kubernetes.io/config.mirror': 'x' } }),
      ...(pod.owner && { ownerReferences: [{ kind: pod.owner, name: 'o', controller: true }] }),
      ...(pod.ending && { deletionTimestamp: '2026-11-22T06:00:00Z', deletionGracePeriodSeconds: 120 }),
    },
    spec: {
      nodeName: 'n1',
      containers: [
        { name: 'c', resources: pod.gpus ? { limits: { 'nvidia.com/gpu': String(pod.gpus) } } : {} },
      ],
    },
    status: { phase: pod.phase ?? 'Running' },
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = await bodyOf(request);
    const url = new URL(request.url ?? '/', 'https://server');
    const say = (status: number, body: Json, headers: Record<string, string> = {}) => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers });
      response.end(JSON.stringify(body));
    };
    const no = (code: number, reason: string, message: string, headers: Record<string, string> = {}) =>
      say(
        code,
        { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason, message, code },
        headers,
      );
    requests += 1;
    if (broken !== null) return no(500, 'InternalError', broken);
    if (request.headers.authorization !== `Bearer ${token}`) return no(401, 'Unauthorized', 'Unauthorized');
    const allowed = (verb: string, resource: string): boolean => {
      if (!denied.has(`${verb} ${resource}`)) return true;
      const user = 'User "system:serviceaccount:power:switchyard"';
      no(403, 'Forbidden', `${resource} is forbidden: ${user} cannot ${verb} resource "${resource}"`);
      return false;
    };
    if (url.pathname === '/api/v1/nodes/n1' && request.method === 'GET') {
      if (!allowed('get', 'nodes')) return;
      say(200, nodeJson());
      meddle?.();
      meddle = null;
      return;
    }
    if (url.pathname === '/api/v1/nodes/n1' && request.method === 'PATCH') {
      if (!allowed('patch', 'nodes')) return;
      if (request.headers['content-type'] !== 'application/merge-patch+json')
        return no(415, 'UnsupportedMediaType', 'the body of the request was in an unknown format');
      calls.push(`PATCH ${text}`);
      const patch = JSON.parse(text) as { metadata?: Json; spec?: { unschedulable?: boolean | null } };
      const expected = patch.metadata?.['resourceVersion'];
      if (expected !== undefined && expected !== String(version))
        return no(
          409,
          'Conflict',
          'Operation cannot be fulfilled on nodes "n1": the object has been modified',
        );
      version += 1;
      if (patch.spec?.unschedulable !== undefined) node.cordoned = patch.spec.unschedulable === true;
      for (const [key, value] of Object.entries((patch.metadata?.['annotations'] ?? {}) as Json)) {
        if (value === null) delete node.annotations[key];
        else node.annotations[key] = String(value);
      }
      return say(200, nodeJson());
    }
    if (url.pathname.startsWith('/api/v1/nodes/')) {
      const name = url.pathname.split('/').at(-1);
      return no(404, 'NotFound', `nodes "${name}" not found`);
    }
    if (url.pathname === '/api/v1/pods' && request.method === 'GET') {
      if (!allowed('list', 'pods')) return;
      const onNode = url.searchParams.get('fieldSelector') === 'spec.nodeName=n1' ? pods : [];
      // Small pages, whatever was asked for: a server may do so.
      const from = Number(url.searchParams.get('continue') ?? 0);
      const rest = onNode.length - from - PAGE;
      return say(200, {
        kind: 'PodList',
        apiVersion: 'v1',
        metadata: { resourceVersion: '1', ...(rest > 0 && { continue: String(from + PAGE) }) },
        items: onNode.slice(from, from + PAGE).map(podJson),
      });
    }
    const eviction = /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)\/eviction$/.exec(url.pathname);
    if (eviction !== null && request.method === 'POST') {
      if (!allowed('create', 'pods/eviction')) return;
      const [, namespace, name] = eviction;
      calls.push(`evict ${namespace}/${name} ${text}`);
      const body = JSON.parse(text) as { apiVersion?: string; kind?: string; deleteOptions?: Json };
      if (body.apiVersion !== 'policy/v1' || body.kind !== 'Eviction')
        return no(400, 'BadRequest', 'no kind "Eviction" is registered for this version');
      const pod = pods.find((one) => one.name === name && (one.namespace ?? 'ai') === namespace);
      if (pod === undefined) return no(404, 'NotFound', `pods "${name}" not found`);
      const uid = (body.deleteOptions?.['preconditions'] as Json | undefined)?.['uid'];
      if (uid !== undefined && uid !== (pod.uid ?? `uid-${pod.name}`))
        return no(409, 'Conflict', 'Precondition failed: UID in precondition does not match');
      if (pod.budgetSays === 'no')
        return no(
          429,
          'TooManyRequests',
          "Cannot evict pod as it would violate the pod's disruption budget.",
          {
            'retry-after': '10',
          },
        );
      pod.ending = true;
      return say(201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 });
    }
    no(404, 'NotFound', 'the server could not find the requested resource');
  };
  const server = await startTlsServer((request, response) => void handle(request, response), options.shown);
  return {
    url: server.url,
    stop: server.stop,
    /** The words of the fake Slurm: MIXED works, IDLE does not, DOWN is not ready, DRAIN is cordoned. */
    set: ({ state, reason }: FakeNode) => {
      const cordoned = state.endsWith('+DRAIN');
      node = { cordoned, ready: state !== 'DOWN', annotations: reason === '' ? {} : { [HANDOVER]: reason } };
      pods = state.startsWith('MIXED') ? [{ name: 'train-0', gpus: 8, owner: 'Job' }] : [];
    },
    node: (): FakeNode => ({
      state: `${pods.length > 0 ? 'MIXED' : 'IDLE'}${node.cordoned ? '+DRAIN' : ''}`,
      reason: node.annotations[HANDOVER] ?? '',
    }),
    setPods: (list: FakePod[]) => {
      pods = list;
    },
    pods: () => pods,
    setToken: (text: string) => {
      token = text;
    },
    deny: (verb: string, resource: string) => denied.add(`${verb} ${resource}`),
    meddle: (change: 'cordon') => {
      meddle = () => {
        version += 1;
        node.cordoned = change === 'cordon';
      };
    },
    refuse: (said: string) => {
      broken = said;
    },
    /** Writes since the last time this was asked. */
    writes: (): string[] => {
      const list = calls;
      calls = [];
      return list;
    },
    requests: () => requests,
  };
}
