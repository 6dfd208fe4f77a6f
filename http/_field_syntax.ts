/** Characters of a token (RFC 9110, 5.6.2), by code. */
const TOKEN = new Uint8Array(128);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
  TOKEN[c.charCodeAt(0)] = 1;
  TOKEN[c.toUpperCase().charCodeAt(0)] = 1;
}

/** Whether it is a token: a method, a field name (RFC 9110, 5.6.2). */
export function isToken(text: string): boolean {
  if (text.length === 0) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 128 || TOKEN[code] === 0) return false;
  }
  return true;
}

/**
 * Whether it can stand in a field line: Latin-1, and no control characters
 * but HTAB (RFC 9110, 5.5). This is what makes CR/LF injection impossible.
 */
export function isFieldValue(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f || code > 0xff) {
      return false;
    }
  }
  return true;
}
