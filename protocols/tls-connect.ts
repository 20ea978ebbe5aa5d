import { isIP } from 'node:net';
import { connect as connectSecurely } from 'node:tls';
import type { Failure } from './result.ts';
import type { Connect } from './wire.ts';

/** Whom to believe at the other end of a connection; with neither, the authorities of the system. */
export interface TlsTrust {
  /** PEM of the one authority that may have signed its certificate. */
  readonly ca?: string;
  /** SHA-256 of the certificate itself, hexadecimal, colons or none: then who signed it does not matter. */
  readonly fingerprint?: string;
}

/** Error code of a certificate that is another than the pinned one. */
const OTHER_CERTIFICATE = 'ERR_OTHER_CERTIFICATE';

/** Connects by TLS, and sends nothing before the other side has shown a certificate that `trust` believes. */
export function connectTls(trust: TlsTrust): Connect {
  const pinned = trust.fingerprint === undefined ? null : bareFingerprint(trust.fingerprint);
  return ({ host, port }) => {
    const socket = connectSecurely({
      host,
      port,
      // A name is told to the server; an address may not be.
      ...(isIP(host) === 0 && { servername: host }),
      ...(trust.ca !== undefined && { ca: trust.ca }),
      // The pin stands in for the chain, which a self-signed certificate does not have.
      rejectUnauthorized: pinned === null,
    });
    if (pinned !== null) {
      // In the same turn as the end of the handshake: what was written meanwhile has not left yet.
      socket.prependListener('secureConnect', () => {
        const shown = bareFingerprint(socket.getPeerCertificate().fingerprint256 ?? '');
        if (shown === pinned) return;
        const error: NodeJS.ErrnoException = new Error(`its certificate is ${shown}`);
        error.code = OTHER_CERTIFICATE;
        socket.destroy(error);
      });
    }
    return socket;
  };
}

/** Lower-case hexadecimal without colons. */
export function bareFingerprint(text: string): string {
  return text
    .replace(/^sha256[:/ ]/i, '')
    .replaceAll(':', '')
    .toLowerCase();
}

/** What a failed handshake means, or `null` where `code` is about something else. */
export function certificateFailure(place: string, code: string | undefined): Failure | null {
  switch (code) {
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'CERT_SIGNATURE_FAILURE':
      return {
        kind: 'wrong-device',
        message: `${place} shows a certificate that the configured authority did not sign`,
        hint: 'Give the authority that signed it as `ca`; if it is the right one already, somebody stands between.',
      };
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return {
        kind: 'wrong-device',
        message: `${place} shows a certificate that is not valid today`,
        hint: 'Renew it there, and compare the clocks.',
      };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return {
        kind: 'wrong-device',
        message: `${place} shows a certificate for another name`,
        hint: 'Write the address as a name that its certificate carries.',
      };
    case OTHER_CERTIFICATE:
      return {
        kind: 'wrong-device',
        message: `${place} shows another certificate than the pinned one`,
        hint: 'If it was renewed on purpose, write its new `fingerprint`.',
      };
    case 'EPROTO':
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return { kind: 'malformed', message: `${place} does not speak TLS`, hint: 'Compare the port.' };
    default:
      return null;
  }
}
