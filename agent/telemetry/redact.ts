import type { Secret } from '../../config/secret.ts';

const HIDDEN = '[secret]';
/** Shorter ones are words of any text: they are kept out by where they stand, not by what they are. */
const SHORTEST = 4;

/**
 * A text without secrets: each known one in every form that JSON, URLs and base64 give it, and whatever stands as
 * user information in a URL. Pure.
 */
export function redact(text: string, secrets: Iterable<Secret>): string {
  let hidden = text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, `$1${HIDDEN}@`);
  for (const form of formsOf(secrets)) hidden = hidden.replaceAll(form, HIDDEN);
  return hidden;
}

/** Whether any form of a known secret stands in the text. Pure. */
export function holdsSecret(text: string, secrets: Iterable<Secret>): boolean {
  return formsOf(secrets).some((form) => text.includes(form));
}

function formsOf(secrets: Iterable<Secret>): string[] {
  const forms = new Set<string>();
  for (const secret of secrets) {
    const plain = secret.reveal();
    if (plain.length < SHORTEST) continue;
    forms.add(plain);
    forms.add(JSON.stringify(plain).slice(1, -1));
    forms.add(encodeURIComponent(plain));
    forms.add(Buffer.from(plain).toString('base64'));
  }
  // Longer ones first: one may stand in another.
  return [...forms].sort((a, b) => b.length - a.length);
}
