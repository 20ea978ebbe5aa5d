import type { Failure, Result } from './result.ts';
import { fail, ok } from './result.ts';

/**
 * Words of the Kubernetes API for one node and its pods. Pure. Source: Kubernetes API reference, core/v1 Node and
 * Pod, policy/v1 Eviction, meta/v1 Status; what is left alone is what `kubectl drain --ignore-daemonsets` leaves.
 */

/** What may be a node's name: a DNS subdomain. */
export const KUBERNETES_NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
/** Under this the id of a hand-over is written down with the node that it cordoned. */
export const HANDOVER_ANNOTATION = 'switchyard/handover';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

export interface KubernetesNode {
  readonly name: string;
  readonly isCordoned: boolean;
  readonly isReady: boolean;
  /** The hand-over for which it was cordoned; `null`: none, or somebody else did. */
  readonly mark: string | null;
  /** A change that names it fails where somebody else was quicker. */
  readonly resourceVersion: string;
}

export interface KubernetesPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** It was told to end and has not ended yet. */
  readonly isEnding: boolean;
  readonly usesGpu: boolean;
}

/** Which pods stand for work: those that hold a GPU, or all that a drain would evict. */
export type PodScope = 'gpu' | 'all';

type Body = Readonly<Record<string, unknown>>;

export function parseKubernetesNode(json: unknown): Result<KubernetesNode> {
  const { metadata, spec, status } = record(json);
  const { name, resourceVersion, annotations } = record(metadata);
  if (record(json)['kind'] !== 'Node' || typeof name !== 'string' || typeof resourceVersion !== 'string')
    return fail('malformed', 'the answer is no Kubernetes node');
  const isCordoned = record(spec)['unschedulable'] === true;
  const mark = record(annotations)[HANDOVER_ANNOTATION];
  const ready = records(record(status)['conditions']).find((condition) => condition['type'] === 'Ready');
  return ok({
    name,
    resourceVersion,
    isCordoned,
    isReady: ready?.['status'] === 'True',
    // Somebody may have uncordoned it and left the note.
    mark: isCordoned && typeof mark === 'string' && mark !== '' ? mark : null,
  });
}

/** One page of a list of pods: those that an eviction may end, and where the list goes on. */
export function parsePods(json: unknown): Result<{ pods: readonly KubernetesPod[]; next: string | null }> {
  const { kind, items, metadata } = record(json);
  if (kind !== 'PodList' || !Array.isArray(items))
    return fail('malformed', 'the answer is no list of Kubernetes pods');
  const pods: KubernetesPod[] = [];
  for (const item of items) {
    const { metadata: own, spec, status } = record(item);
    const { name, namespace, uid, annotations, ownerReferences, deletionTimestamp } = record(own);
    if (typeof name !== 'string' || typeof namespace !== 'string' || typeof uid !== 'string')
      return fail('malformed', 'a pod of the list has no name, namespace or uid');
    const phase = record(status)['phase'];
    if (phase === 'Succeeded' || phase === 'Failed') continue;
    if (record(annotations)[MIRROR_ANNOTATION] !== undefined) continue;
    if (
      records(ownerReferences).some((owner) => owner['kind'] === 'DaemonSet' && owner['controller'] === true)
    )
      continue;
    pods.push({
      name,
      namespace,
      uid,
      isEnding: typeof deletionTimestamp === 'string',
      usesGpu: usesGpu(record(spec)),
    });
  }
  const next = record(metadata)['continue'];
  return ok({ pods, next: typeof next === 'string' && next !== '' ? next : null });
}

/** By a resource of NVIDIA's device plugin, whole or part, or by a claim, which may be one. */
function usesGpu(spec: Body): boolean {
  if (records(spec['resourceClaims']).length > 0) return true;
  return [...records(spec['containers']), ...records(spec['initContainers'])].some((container) => {
    const { limits, requests } = record(container['resources']);
    return [...Object.entries(record(limits)), ...Object.entries(record(requests))].some(
      ([resource, count]) => resource.startsWith('nvidia.com/') && String(count) !== '0',
    );
  });
}

export const nodePath = (node: string): string => `/api/v1/nodes/${encodeURIComponent(node)}`;

export function podsPath(node: string, next: string | null): string {
  const at = next === null ? '' : `&continue=${encodeURIComponent(next)}`;
  return `/api/v1/pods?fieldSelector=${encodeURIComponent(`spec.nodeName=${node}`)}&limit=100${at}`;
}

export const evictionPath = ({ namespace, name }: KubernetesPod): string =>
  `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/eviction`;

/** A merge patch; `mark: null` puts the node back. */
export function cordonPatch(resourceVersion: string, mark: string | null): Body {
  return {
    metadata: { resourceVersion, annotations: { [HANDOVER_ANNOTATION]: mark } },
    spec: { unschedulable: mark !== null },
  };
}

/** Evicts this very pod: one of the same name that came after it is another. */
export function evictionBody({ namespace, name, uid }: KubernetesPod, graceSeconds: number): Body {
  return {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { namespace, name },
    deleteOptions: { gracePeriodSeconds: graceSeconds, preconditions: { uid } },
  };
}

/** What was asked for, as the rules of a role name it. */
export interface AskedFor {
  readonly verb: 'get' | 'list' | 'patch' | 'create';
  readonly resource: 'nodes' | 'pods' | 'pods/eviction';
}

/** What an answer other than a success means. `text`: its body. */
export function kubernetesFailure(place: string, status: number, json: unknown, asked: AskedFor): Failure {
  const message = record(json)['message'];
  const said = typeof message === 'string' && message !== '' ? `: ${message.slice(0, 300)}` : '';
  const { verb, resource } = asked;
  switch (status) {
    case 401:
      return {
        kind: 'unauthorised',
        message: `${place} does not accept the token${said}`,
        hint: 'It may have ended: write a new one into `tokenFile`; it is read again at every request.',
      };
    case 403:
      return {
        kind: 'unauthorised',
        message: `${place} does not let this account ${verb} ${resource}${said}`,
        hint: `Add verb "${verb}" on resource "${resource}" to its ClusterRole: docs/actuators.md.`,
      };
    case 404:
      return resource === 'nodes'
        ? {
            kind: 'wrong-device',
            message: `${place} knows no such node${said}`,
            hint: 'Compare `drain.node` with `kubectl get nodes`.',
          }
        : { kind: 'unsupported', message: `${place} has no ${resource}${said}` };
    case 409:
      return { kind: 'busy', message: `${place}: somebody else changed it at the same time${said}` };
    case 429:
    case 503:
      return { kind: 'busy', message: `${place} says later${said}` };
    default:
      return { kind: 'refused', message: `${place} answers HTTP ${status} to ${verb} ${resource}${said}` };
  }
}

function record(value: unknown): Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Body) : {};
}

function records(value: unknown): readonly Body[] {
  return Array.isArray(value) ? value.map(record) : [];
}
