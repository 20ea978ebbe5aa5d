import type { Clock } from '../../protocols/clock.ts';
import {
  type AskedFor,
  cordonPatch,
  evictionBody,
  evictionPath,
  KUBERNETES_NODE_NAME,
  type KubernetesNode,
  type KubernetesPod,
  kubernetesFailure,
  nodePath,
  type PodScope,
  parseKubernetesNode,
  parsePods,
  podsPath,
} from '../../protocols/kubernetes.ts';
import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { ExchangeLimits } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds } from '../../protocols/units.ts';
import type { DrainDriver, DrainOptions, ServiceReading, ServiceState, ServiceWrite } from './drain.ts';
import { beforeDrain, beforeResume } from './drain-rules.ts';
import { type ApiAnswer, type ApiPlace, type ApiRequest, ManagementApi, textOf } from './management-api.ts';

export interface KubernetesConfig extends ApiPlace {
  readonly kind: 'kubernetes';
  readonly node: string;
  /** Bearer token; read at every request, because it is renewed. */
  readonly tokenFile: string;
  /** How long an evicted pod has to end. */
  readonly grace: Milliseconds;
  readonly evict: PodScope;
}

/** A hundred pods of a page are a megabyte or two. */
const LIMITS: ExchangeLimits = {
  connectMs: 5000,
  idleMs: 10_000,
  totalMs: 15_000,
  maximumBytes: 16_000_000,
};
/** A node carries 110 pods by default, 250 at most as supported. Source: Kubernetes, large clusters. */
const PAGES_MOST = 20;

/** A node of Kubernetes, through its API: cordoned under the mark of a hand-over, its pods evicted with grace. */
export class KubernetesDrain implements DrainDriver {
  readonly kind = 'kubernetes';
  readonly graceMs: Milliseconds;
  private readonly config: KubernetesConfig;
  private readonly clock: Clock;
  private readonly api: ManagementApi;

  constructor(config: KubernetesConfig, clock: Clock) {
    if (!KUBERNETES_NODE_NAME.test(config.node)) throw new Error(`"${config.node}" is no name of a node`);
    this.config = config;
    this.clock = clock;
    this.graceMs = config.grace;
    this.api = new ManagementApi(config, clock, LIMITS);
  }

  async read(signal: AbortSignal): Promise<Result<ServiceReading>> {
    const requestedAt = this.clock.monotonicMs();
    const node = await this.node(signal);
    if (!node.ok) return node;
    const { isCordoned, isReady, mark } = node.value;
    let state: ServiceState = 'in-service';
    let reason = isCordoned ? (mark ?? 'cordoned by somebody else') : null;
    if (!isReady) {
      state = 'down';
      reason ??= 'not ready';
    } else if (isCordoned) {
      const work = await this.work(signal);
      if (!work.ok) return work;
      state = work.value.length === 0 ? 'drained' : 'draining';
    }
    return ok({ state, mark, reason, requestedAt });
  }

  async drain(mark: string, options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    return beforeDrain(now.value) ?? this.cordon(mark, options, signal);
  }

  async resume(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const now = await this.read(signal);
    if (!now.ok) return now;
    return beforeResume(now.value) ?? this.cordon(null, options, signal);
  }

  /**
   * Asks every pod that is left to end, once each. A disruption budget may say "not now" (429): the pod stays and
   * is asked again by the next call.
   */
  async evict(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>> {
    const work = await this.work(signal);
    if (!work.ok) return work;
    const left = work.value.filter((pod) => !pod.isEnding);
    const names = left.map(({ namespace, name }) => `${namespace}/${name}`).join(', ');
    if (left.length === 0)
      return ok({ sent: false, note: `${work.value.length} pods are ending, none is left to evict` });
    if (options.dryRun) return ok({ sent: false, note: `would run: evict ${names}` });
    const held: string[] = [];
    let evicted = 0;
    for (const pod of left) {
      const said = await this.evictOne(pod, signal);
      if (!said.ok) return said;
      if (said.value === 'held') held.push(`${pod.namespace}/${pod.name}`);
      else evicted += 1;
    }
    const budgets = held.length === 0 ? '' : `; a disruption budget holds ${held.join(', ')}`;
    return ok({ sent: evicted > 0, note: `evicted ${evicted} of ${left.length} pods${budgets}` });
  }

  private async evictOne(pod: KubernetesPod, signal: AbortSignal): Promise<Result<'gone' | 'held'>> {
    const body = evictionBody(pod, Math.ceil(this.config.grace / 1000));
    const asked: AskedFor = { verb: 'create', resource: 'pods/eviction' };
    const answer = await this.send({ method: 'POST', path: evictionPath(pod), body }, signal);
    if (!answer.ok) return answer;
    const { status, json } = answer.value;
    // Gone, or another pod by the same name (409): the next look shows what is left.
    if (isSuccess(status) || status === 404 || status === 409) return ok('gone');
    if (status === 429) return ok('held');
    return { ok: false, error: kubernetesFailure(this.api.place, status, json, asked) };
  }

  /** Cordons under `mark`, or takes cordon and mark away. Written only upon the state that was read. */
  private async cordon(
    mark: string | null,
    options: DrainOptions,
    signal: AbortSignal,
  ): Promise<Result<ServiceWrite>> {
    const { node } = this.config;
    const line = mark === null ? `uncordon ${node}` : `cordon ${node} for ${mark}`;
    if (options.dryRun) return ok({ sent: false, note: `would run: ${line}` });
    const before = await this.node(signal);
    if (!before.ok) return before;
    const isAsRead = mark === null ? before.value.mark !== null : !before.value.isCordoned;
    if (!isAsRead) return fail('busy', `${node}: somebody else changed it at the same time`);
    const written = await this.json(
      {
        method: 'PATCH',
        path: nodePath(node),
        headers: { 'content-type': 'application/merge-patch+json' },
        body: cordonPatch(before.value.resourceVersion, mark),
      },
      { verb: 'patch', resource: 'nodes' },
      signal,
    );
    return written.ok ? ok({ sent: true, note: line }) : written;
  }

  private async node(signal: AbortSignal): Promise<Result<KubernetesNode>> {
    const { node } = this.config;
    const json = await this.json(
      { method: 'GET', path: nodePath(node) },
      { verb: 'get', resource: 'nodes' },
      signal,
    );
    if (!json.ok) return json;
    const parsed = parseKubernetesNode(json.value);
    if (parsed.ok && parsed.value.name !== node)
      return fail('wrong-device', `${this.api.place} shows ${parsed.value.name}, not ${node}`);
    return parsed;
  }

  /** Pods whose end is awaited. */
  private async work(signal: AbortSignal): Promise<Result<readonly KubernetesPod[]>> {
    const { node, evict } = this.config;
    const found: KubernetesPod[] = [];
    let next: string | null = null;
    for (let page = 0; page < PAGES_MOST; page += 1) {
      const json: Result<unknown> = await this.json(
        { method: 'GET', path: podsPath(node, next) },
        { verb: 'list', resource: 'pods' },
        signal,
      );
      if (!json.ok) return json;
      const parsed = parsePods(json.value);
      if (!parsed.ok) return parsed;
      found.push(...parsed.value.pods.filter((pod) => evict === 'all' || pod.usesGpu));
      next = parsed.value.next;
      if (next === null) return ok(found);
    }
    return fail('malformed', `${this.api.place} lists more than ${PAGES_MOST} pages of pods on ${node}`);
  }

  private async json(request: ApiRequest, asked: AskedFor, signal: AbortSignal): Promise<Result<unknown>> {
    const answer = await this.send(request, signal);
    if (!answer.ok) return answer;
    const { status, json } = answer.value;
    if (!isSuccess(status))
      return { ok: false, error: kubernetesFailure(this.api.place, status, json, asked) };
    return json === undefined ? fail('malformed', `${this.api.place} answers with no JSON`) : ok(json);
  }

  private async send(request: ApiRequest, signal: AbortSignal): Promise<Result<ApiAnswer>> {
    const token = textOf(this.config.tokenFile, 'token');
    if (!token.ok) return token;
    if (/[^\x21-\x7e]/.test(token.value))
      return fail('unauthorised', `the token file ${this.config.tokenFile} holds no bearer token`);
    return this.api.ask(
      { ...request, headers: { authorization: `Bearer ${token.value}`, ...request.headers } },
      signal,
    );
  }
}

function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}
