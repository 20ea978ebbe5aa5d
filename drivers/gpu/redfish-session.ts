import type { Clock } from '../../protocols/clock.ts';
import { pathOf, redfishFailure, SESSIONS, taskEnd } from '../../protocols/redfish.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { type ExchangeFailure, type ExchangeLimits, exchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import { createCredentialGuard } from '../miners/credential-guard.ts';
import { type ApiAnswer, type ApiPlace, type ApiRequest, ManagementApi, textOf } from './management-api.ts';

export interface RedfishAccess extends ApiPlace {
  readonly user: string;
  /** Read at every login. */
  readonly passwordFile: string;
}

/** What a write came to. */
export interface RedfishWrite {
  /** `null`: it is still at work, or no answer came. */
  readonly accepted: boolean | null;
  readonly note: string;
  readonly sentAt: MonotonicMs;
}

/** Management controllers are slow: seconds for a page are usual. */
const LIMITS: ExchangeLimits = {
  connectMs: 5000,
  idleMs: 15_000,
  totalMs: 20_000,
  maximumBytes: 2_000_000,
};
/** Limits set through a management controller were seen to take up to 40 s. */
const TASK_MS: Milliseconds = 90_000;
const TASK_STEP_MS: Milliseconds = 2000;

/**
 * One session with one management controller, kept for as long as it lasts: controllers allow few, and a login
 * costs them a second. One request at a time.
 */
export class RedfishSession implements AsyncDisposable {
  readonly place: string;
  private readonly access: RedfishAccess;
  private readonly clock: Clock;
  private readonly api: ManagementApi;
  private readonly guard: ReturnType<typeof createCredentialGuard>;
  private open: { readonly token: string; readonly path: string | null } | null = null;
  private tail: Promise<unknown> = Promise.resolve();

  constructor(access: RedfishAccess, clock: Clock) {
    this.access = access;
    this.clock = clock;
    this.api = new ManagementApi(access, clock, LIMITS);
    this.place = this.api.place;
    this.guard = createCredentialGuard(this.place, clock);
  }

  /** A resource and its entity tag. `what`: as in "does not let this user ...". */
  async get(
    path: string,
    what: string,
    signal: AbortSignal,
  ): Promise<Result<{ readonly json: unknown; readonly etag: string | null }>> {
    const answer = await this.ask({ method: 'GET', path }, signal);
    if (!answer.ok) return answer;
    const { status, json, headers } = answer.value;
    if (status !== 200) return { ok: false, error: redfishFailure(this.place, status, json, what) };
    if (json === undefined) return fail('malformed', `${this.place}${path} answers with no JSON`);
    const inside = (json as { '@odata.etag'?: unknown } | null)?.['@odata.etag'];
    return ok({ json, etag: headers['etag'] ?? (typeof inside === 'string' ? inside : null) });
  }

  /** Changes a resource as it was read (`etag`), and sees the task through where the controller makes one of it. */
  async patch(
    path: string,
    etag: string | null,
    body: unknown,
    what: string,
    signal: AbortSignal,
  ): Promise<Result<RedfishWrite>> {
    const headers: Record<string, string> = etag === null ? {} : { 'if-match': etag };
    const answer = await this.ask({ method: 'PATCH', path, headers, body }, signal);
    const sentAt = this.clock.monotonicMs();
    if (!answer.ok) {
      // What left may have arrived.
      return answer.error.connected ? ok({ accepted: null, note: answer.error.message, sentAt }) : answer;
    }
    const { status, json } = answer.value;
    if (status === 202) return this.seeThrough(answer.value, what, signal);
    if (status < 200 || status > 299)
      return { ok: false, error: redfishFailure(this.place, status, json, what) };
    return ok({ accepted: true, note: `${this.place} says HTTP ${status}`, sentAt: answer.value.sentAt });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { open } = this;
    this.open = null;
    if (open?.path == null) return;
    const request: ApiRequest = {
      method: 'DELETE',
      path: open.path,
      headers: { 'x-auth-token': open.token },
    };
    // Its own end: a session that is not ended blocks one of a handful of places for half an hour.
    await this.api.ask(request, new AbortController().signal);
  }

  /** Asks the task's monitor until it is over. Its own answer, or its state, says how it ended. */
  private async seeThrough(
    begun: ApiAnswer,
    what: string,
    signal: AbortSignal,
  ): Promise<Result<RedfishWrite>> {
    const { sentAt } = begun;
    const monitor = pathOf(begun.headers['location'] ?? '');
    if (monitor === null)
      return ok({ accepted: null, note: 'it began a task and does not say which', sentAt });
    const until = this.clock.monotonicMs() + TASK_MS;
    while (this.clock.monotonicMs() < until && !signal.aborted) {
      await this.clock.sleep(TASK_STEP_MS, signal);
      const answer = await this.ask({ method: 'GET', path: monitor }, signal);
      if (!answer.ok) continue;
      const { status, json } = answer.value;
      const end = taskEnd(json);
      if (end !== null) {
        if (end.done) return ok({ accepted: true, note: 'its task is done', sentAt });
        return fail('refused', `${this.place} gave up its task to ${what}: ${end.note}`);
      }
      if (status === 202 || (status === 200 && isTask(json))) continue;
      if (status >= 200 && status <= 299) return ok({ accepted: true, note: 'its task is done', sentAt });
      return { ok: false, error: redfishFailure(this.place, status, json, what) };
    }
    return ok({ accepted: null, note: 'its task is still at work', sentAt });
  }

  private ask(request: ApiRequest, signal: AbortSignal): Promise<Result<ApiAnswer, ExchangeFailure>> {
    const turn = this.tail.then(() => this.askInTurn(request, signal));
    this.tail = turn;
    return turn;
  }

  private async askInTurn(
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<Result<ApiAnswer, ExchangeFailure>> {
    const wasOpen = this.open !== null;
    const first = await this.askOnce(request, signal);
    // A session ends by itself when it idles, and with every restart of the controller.
    if (!first.ok || first.value.status !== 401 || !wasOpen) return first;
    this.open = null;
    return this.askOnce(request, signal);
  }

  private async askOnce(
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<Result<ApiAnswer, ExchangeFailure>> {
    const token = this.open?.token ?? (await this.login(signal));
    if (typeof token !== 'string') return token;
    return this.api.ask(
      { ...request, headers: { 'odata-version': '4.0', 'x-auth-token': token, ...request.headers } },
      signal,
    );
  }

  /** The token of a new session, or why there is none. Nothing else was sent then. */
  private async login(signal: AbortSignal) {
    const closed = this.guard.closed();
    const password = closed ?? textOf(this.access.passwordFile, 'password');
    if (!password.ok) {
      const { kind, message, hint } = password.error;
      return exchangeFailure(false, kind, message, hint);
    }
    const answer = await this.api.ask(
      { method: 'POST', path: SESSIONS, body: { UserName: this.access.user, Password: password.value } },
      signal,
    );
    if (!answer.ok) return { ok: false as const, error: { ...answer.error, connected: false } };
    const { status, json, headers } = answer.value;
    const token = headers['x-auth-token'];
    if ((status === 200 || status === 201) && typeof token === 'string') {
      this.guard.note(null);
      const inside = (json as { '@odata.id'?: unknown } | null | undefined)?.['@odata.id'];
      const path = pathOf(headers['location'] ?? (typeof inside === 'string' ? inside : ''));
      this.open = { token, path };
      return token;
    }
    const { kind, message, hint } =
      status === 200 || status === 201
        ? {
            kind: 'malformed' as const,
            message: `${this.place} opened a session without a token`,
            hint: undefined,
          }
        : redfishFailure(this.place, status, json, 'log in');
    const failure = exchangeFailure(false, kind, message, hint);
    this.guard.note(failure.error);
    return failure;
  }
}

function isTask(json: unknown): boolean {
  return typeof (json as { TaskState?: unknown } | null | undefined)?.TaskState === 'string';
}
