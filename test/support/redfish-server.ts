import type { IncomingMessage, ServerResponse } from 'node:http';
import { bodyOf, type Shown, startTlsServer } from './tls-server.ts';

/**
 * A management controller of one node, written from the published forms: DSP0266 (sessions, entity tags, tasks, error
 * bodies), EnvironmentMetrics and the older Power schema. Its node draws what it wants, or its limit where that binds.
 */
export interface FakeController {
  form: 'environment' | 'power' | 'both';
  /** What the node would draw. */
  demandWatts: number;
  setPointWatts: number | null;
  mode: 'Automatic' | 'Disabled';
  /** It shows its limit and does not keep it. */
  disobeys: boolean;
  minWatts: number | null;
  maxWatts: number | null;
  /** A PATCH becomes a task that ends after so many looks; `failing`: with an exception. */
  task: null | 'done' | 'failing';
  /** Without `If-Match` a PATCH is refused (428); `none`: it knows no entity tags. */
  etags: 'optional' | 'required' | 'none';
  user: string;
  password: string;
  role: 'Administrator' | 'ReadOnly';
  /** What it answers to everything, where that is set. */
  broken: number | null;
  /** More chassis that show power. */
  more: readonly string[];
  /** Runs between a reading and the next request. */
  meddle: (() => void) | null;
}

type Json = Record<string, unknown>;
const ROOT = '/redfish/v1';
const SESSIONS_MOST = 4;

export async function startRedfishServer(own: Partial<FakeController> = {}, shown: Shown = 'own') {
  const node: FakeController = {
    form: 'environment',
    demandWatts: 6000,
    setPointWatts: null,
    mode: 'Automatic',
    disobeys: false,
    minWatts: 3000,
    maxWatts: 10_000,
    task: null,
    etags: 'optional',
    user: 'operator',
    password: 'secret-password',
    role: 'Administrator',
    broken: null,
    more: [],
    meddle: null,
    ...own,
  };
  const sessions = new Map<string, string>();
  let sessionCount = 0;
  let version = 1;
  let looks = 0;
  let pending: (() => void) | null = null;
  const calls: string[] = [];

  const draw = () =>
    node.setPointWatts !== null && node.mode !== 'Disabled' && !node.disobeys
      ? Math.min(node.demandWatts, node.setPointWatts)
      : node.demandWatts;
  const environment = (id: string) => ({
    '@odata.id': `${ROOT}/Chassis/${id}/EnvironmentMetrics`,
    '@odata.type': '#EnvironmentMetrics.v1_3_0.EnvironmentMetrics',
    Id: 'EnvironmentMetrics',
    Name: 'Chassis Environment Metrics',
    PowerWatts: { Reading: draw() },
    PowerLimitWatts: {
      SetPoint: node.setPointWatts ?? node.maxWatts ?? 0,
      ControlMode: node.mode,
      Reading: draw(),
      ...(node.minWatts !== null && { AllowableMin: node.minWatts }),
      ...(node.maxWatts !== null && { AllowableMax: node.maxWatts }),
    },
  });
  const power = (id: string) => ({
    '@odata.id': `${ROOT}/Chassis/${id}/Power`,
    '@odata.type': '#Power.v1_7_1.Power',
    Id: 'Power',
    Name: 'Power',
    PowerControl: [
      {
        '@odata.id': `${ROOT}/Chassis/${id}/Power#/PowerControl/0`,
        MemberId: '0',
        Name: 'Server Power Control',
        PowerConsumedWatts: draw(),
        PowerCapacityWatts: node.maxWatts,
        PowerLimit: { LimitInWatts: node.setPointWatts, LimitException: 'NoAction', CorrectionInMs: 1000 },
      },
    ],
  });
  const chassis = (id: string) => ({
    '@odata.id': `${ROOT}/Chassis/${id}`,
    '@odata.type': '#Chassis.v1_21_0.Chassis',
    Id: id,
    Name: 'Node',
    ChassisType: 'RackMount',
    Manufacturer: 'Example',
    Model: 'GPU server',
    SerialNumber: `SN-${id}`,
    PowerState: 'On',
    Status: { State: 'Enabled', Health: 'OK' },
    ...(node.form !== 'power' && {
      EnvironmentMetrics: { '@odata.id': `${ROOT}/Chassis/${id}/EnvironmentMetrics` },
    }),
    ...(node.form !== 'environment' && { Power: { '@odata.id': `${ROOT}/Chassis/${id}/Power` } }),
  });
  const collection = (path: string, type: string, ids: readonly string[]) => ({
    '@odata.id': path,
    '@odata.type': `#${type}.${type}`,
    Name: type,
    'Members@odata.count': ids.length,
    Members: ids.map((id) => ({ '@odata.id': `${path}/${id}` })),
  });
  const chassisIds = () => ['1', ...node.more];
  const pages = (): Record<string, Json> => ({
    '/redfish': { v1: `${ROOT}/` },
    [ROOT]: {
      '@odata.id': ROOT,
      '@odata.type': '#ServiceRoot.v1_9_0.ServiceRoot',
      Id: 'RootService',
      Name: 'Root Service',
      RedfishVersion: '1.15.0',
      UUID: '92384634-2938-2342-8820-489239905423',
      Chassis: { '@odata.id': `${ROOT}/Chassis` },
      SessionService: { '@odata.id': `${ROOT}/SessionService` },
      Tasks: { '@odata.id': `${ROOT}/TaskService` },
      Links: { Sessions: { '@odata.id': `${ROOT}/SessionService/Sessions` } },
    },
    [`${ROOT}/SessionService`]: {
      '@odata.id': `${ROOT}/SessionService`,
      '@odata.type': '#SessionService.v1_1_8.SessionService',
      Id: 'SessionService',
      Name: 'Session Service',
      ServiceEnabled: true,
      SessionTimeout: 1800,
      Sessions: { '@odata.id': `${ROOT}/SessionService/Sessions` },
    },
    [`${ROOT}/SessionService/Sessions`]: collection(
      `${ROOT}/SessionService/Sessions`,
      'SessionCollection',
      [...sessions.values()].map((path) => path.split('/').at(-1)!),
    ),
    [`${ROOT}/Chassis`]: collection(`${ROOT}/Chassis`, 'ChassisCollection', chassisIds()),
    ...Object.fromEntries(
      chassisIds().flatMap((id) => [
        [`${ROOT}/Chassis/${id}`, chassis(id)],
        ...(node.form === 'power' ? [] : [[`${ROOT}/Chassis/${id}/EnvironmentMetrics`, environment(id)]]),
        ...(node.form === 'environment' ? [] : [[`${ROOT}/Chassis/${id}/Power`, power(id)]]),
      ]),
    ),
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const text = await bodyOf(request);
    const path = new URL(request.url ?? '/', 'https://bmc').pathname.replace(/\/+$/, '');
    const method = request.method ?? 'GET';
    calls.push(`${method} ${path}${method === 'PATCH' ? ` ${text}` : ''}`);
    const say = (status: number, body: Json | null, headers: Record<string, string> = {}) => {
      const isBare = body === null;
      response.writeHead(status, {
        'odata-version': '4.0',
        ...(!isBare && { 'content-type': 'application/json' }),
        ...headers,
      });
      response.end(isBare ? undefined : JSON.stringify(body));
    };
    const no = (status: number, id: string, message: string) =>
      say(status, {
        error: {
          code: `Base.1.16.${id}`,
          message: 'A general error has occurred. See ExtendedInfo for more information.',
          '@Message.ExtendedInfo': [
            { '@odata.type': '#Message.v1_1_2.Message', MessageId: `Base.1.16.${id}`, Message: message },
          ],
        },
      });
    if (node.broken !== null) return no(node.broken, 'GeneralError', 'Out of order.');
    if (method === 'POST' && path === `${ROOT}/SessionService/Sessions`) {
      const { UserName, Password } = JSON.parse(text) as Json;
      if (UserName !== node.user || Password !== node.password)
        return no(401, 'ResourceAtUriUnauthorized', 'The user name or password is wrong.');
      if (sessions.size >= SESSIONS_MOST)
        return no(503, 'SessionLimitExceeded', 'The session establishment failed: too many sessions.');
      sessionCount += 1;
      const session = `${ROOT}/SessionService/Sessions/${sessionCount}`;
      const token = `token-${sessionCount}`;
      sessions.set(token, session);
      return say(
        201,
        {
          '@odata.id': session,
          '@odata.type': '#Session.v1_6_0.Session',
          Id: String(sessionCount),
          Name: 'User Session',
          UserName: node.user,
        },
        { 'x-auth-token': token, location: session },
      );
    }
    const isOpen = path === '/redfish' || path === ROOT;
    const token = request.headers['x-auth-token'];
    const basic = `Basic ${Buffer.from(`${node.user}:${node.password}`).toString('base64')}`;
    const isKnown =
      (typeof token === 'string' && sessions.has(token)) || request.headers.authorization === basic;
    if (!isOpen && !isKnown) return no(401, 'NoValidSession', 'There is no valid session.');
    if (method === 'DELETE') {
      const held = [...sessions].find(([, session]) => session === path);
      if (held === undefined) return no(404, 'ResourceNotFound', 'There is no such session.');
      sessions.delete(held[0]);
      return say(204, null);
    }
    if (path === `${ROOT}/TaskService/TaskMonitors/1`) {
      looks += 1;
      if (looks < 3)
        return say(202, { '@odata.type': '#Task.v1_7_0.Task', Id: '1', Name: 'T', TaskState: 'Running' });
      if (node.task === 'failing')
        return say(200, {
          '@odata.type': '#Task.v1_7_0.Task',
          Id: '1',
          Name: 'T',
          TaskState: 'Exception',
          TaskStatus: 'Critical',
          Messages: [{ Message: 'The power supply does not answer.' }],
        });
      pending?.();
      pending = null;
      // A monitor that is done answers as the request itself would have.
      return say(204, null);
    }
    const page = pages()[path];
    if (page === undefined) return no(404, 'ResourceMissingAtURI', `The resource at ${path} was not found.`);
    const etag = `"${version}"`;
    if (method === 'GET') {
      say(200, page, node.etags === 'none' ? {} : { etag });
      node.meddle?.();
      return;
    }
    if (method !== 'PATCH' || !/\/(EnvironmentMetrics|Power)$/.test(path))
      return no(405, 'OperationNotAllowed', 'The HTTP method is not allowed on this resource.');
    if (node.role === 'ReadOnly')
      return no(403, 'InsufficientPrivilege', 'There are insufficient privileges for this operation.');
    const match = request.headers['if-match'];
    if (node.etags === 'required' && match === undefined)
      return no(428, 'PreconditionRequired', 'A precondition is required.');
    if (node.etags !== 'none' && match !== undefined && match !== etag && match !== '*')
      return no(412, 'PreconditionFailed', 'The ETag supplied did not match the ETag required.');
    const body = JSON.parse(text) as {
      PowerLimitWatts?: { SetPoint?: unknown; ControlMode?: 'Automatic' | 'Disabled' };
      PowerControl?: [{ PowerLimit?: { LimitInWatts?: unknown } }];
    };
    const wanted = path.endsWith('/Power')
      ? body.PowerControl?.[0]?.PowerLimit?.LimitInWatts
      : body.PowerLimitWatts?.SetPoint;
    if (wanted !== null && typeof wanted !== 'number')
      return no(400, 'PropertyUnknown', 'No property of the request can be written.');
    if (wanted !== null && (wanted < (node.minWatts ?? 0) || wanted > (node.maxWatts ?? 1e9)))
      return no(400, 'PropertyValueOutOfRange', `The value ${wanted} is out of range.`);
    const act = () => {
      version += 1;
      node.setPointWatts = wanted;
      node.mode = body.PowerLimitWatts?.ControlMode ?? node.mode;
    };
    if (node.task !== null) {
      looks = 0;
      pending = act;
      return say(
        202,
        { '@odata.id': `${ROOT}/TaskService/Tasks/1`, Id: '1', Name: 'T', TaskState: 'New' },
        { location: `${ROOT}/TaskService/TaskMonitors/1` },
      );
    }
    act();
    return path.endsWith('/Power') ? say(204, null) : say(200, pages()[path]!);
  };
  const server = await startTlsServer((request, response) => void handle(request, response), shown);
  return {
    url: server.url,
    stop: server.stop,
    node,
    draw,
    sessions: () => sessions.size,
    /** As when the controller restarts. */
    forgetSessions: () => sessions.clear(),
    /** Somebody else's change. */
    touch: () => {
      version += 1;
    },
    /** What came since this was last asked. */
    calls: () => calls.splice(0),
  };
}
