/** Replies of miners nest five or six deep; what goes further is no reply, and would overflow whoever walks it. */
const DEEPEST = 64;

/** True for JSON text (whole or broken) that nests deeper than any reply. Two passes at most, no allocation. */
export function isTooDeep(text: string): boolean {
  // Hardly any reply opens so often at all, which costs a fiftieth of telling how deep it nests.
  return opensBeyondDeepest(text) && nestsBeyondDeepest(text);
}

/** Whether there are enough braces and brackets, wherever they stand. */
function opensBeyondDeepest(text: string): boolean {
  let left = DEEPEST;
  for (let at = text.indexOf('{'); at >= 0 && left >= 0; at = text.indexOf('{', at + 1)) left -= 1;
  for (let at = text.indexOf('['); at >= 0 && left >= 0; at = text.indexOf('[', at + 1)) left -= 1;
  return left < 0;
}

function nestsBeyondDeepest(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = endOfString(text, at);
    else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      depth += 1;
      if (depth > DEEPEST) return true;
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth -= 1;
  }
  return false;
}

/** Where the string that begins at `start` ends, the end of the text where it does not. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let escapes = end - 1;
    while (escapes > start && text.charCodeAt(escapes) === BACKSLASH) escapes -= 1;
    // Of an even number, each escapes the one behind it.
    if ((end - escapes) % 2 === 1) return end;
  }
  return text.length;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
