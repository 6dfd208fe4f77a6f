/** A block of PEM (RFC 7468 §2), whatever stands around it. */
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[^]*?-----END \1-----/g;
const CERTIFICATE = /^(?:X509 |TRUSTED )?CERTIFICATE$/;
const PRIVATE_KEY = /PRIVATE KEY$/;

/** Blocks with labels like this one; without blanks around their lines. */
function blocks(text: string, label: RegExp): string[] {
  return [...text.matchAll(BLOCK)]
    .filter(([, name]) => label.test(name))
    .map(([block]) => block.replace(/[ \t]*\r?\n[ \t]*/g, "\n") + "\n");
}

/** Whether there is a certificate in a PEM text. */
export function hasCertificate(text: string): boolean {
  return /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/.test(text);
}

/** The certificates of a PEM text. */
export function certificatesOf(text: string): string[] {
  return blocks(text, CERTIFICATE);
}

/** The first private key of a PEM text. */
export function privateKeyOf(text: string): string | undefined {
  return blocks(text, PRIVATE_KEY)[0];
}

/** Whether a key can only be read with a passphrase. */
export function isEncrypted(key: string): boolean {
  return /^-----BEGIN ENCRYPTED |^Proc-Type: *4, *ENCRYPTED/m.test(key);
}
