import { createPublicKey, verify } from 'node:crypto';

/**
 * JSON in the one form that is signed. Source: RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16
 * code units, numbers and strings as ECMAScript serialises them, no white space.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const parts = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`);
    return `{${parts.join(',')}}`;
  }
  return JSON.stringify(value);
}

/** Whether `value.sig` is an Ed25519 signature, by the PEM key, over the canonical JSON of `value` without `sig`. */
export function verifyOrderSignature(value: unknown, publicKeyPem: string): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { sig, ...body } = value as { sig?: { value?: unknown; alg?: unknown } };
  if (typeof sig?.value !== 'string' || sig.alg !== 'Ed25519') return false;
  try {
    const key = createPublicKey(publicKeyPem);
    if (key.asymmetricKeyType !== 'ed25519') return false;
    return verify(null, Buffer.from(canonicalJson(body)), key, Buffer.from(sig.value, 'base64'));
  } catch {
    return false;
  }
}
