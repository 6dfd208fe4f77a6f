// Requests over HTTP/1.1, byte by byte: what may come, what must not, and what
// a server makes of it. Each row is one connection of its own.

/** What is left of the connection when all has been answered. */
export type Fate =
  /** It takes another request. */
  | "open"
  /** The server ends it. */
  | "closed";

export interface Row {
  readonly name: string;
  /** Where it says so: sections of RFC 9112, unless another is named. */
  readonly rule: string;
  /** What the client sends, as Latin-1. */
  readonly sent: string;
  /**
   * The answers, in order: a status for a refusal, which has no body; else
   * with what the handler saw, `"200 GET a/path body"`.
   */
  readonly answers: readonly string[];
  readonly fate: Fate;
  /** The client half-closes behind it. */
  readonly fin: boolean;
}

/** Limits of the server that the rows are made for. */
export const limits = { header: 2000, target: 200, body: 1000 };

const HOST = "Host: a\r\n";
const line = (text: string) => `${text}\r\n${HOST}\r\n`;
const field = (text: string) => `GET / HTTP/1.1\r\n${HOST}${text}\r\n\r\n`;
const host = (text: string) => `GET / HTTP/1.1\r\nHost:${text}\r\n\r\n`;
const post = (fields: string, body = "") =>
  `POST / HTTP/1.1\r\n${HOST}${fields}\r\n\r\n${body}`;
const chunked = (body: string) => post("Transfer-Encoding: chunked", body);
/** A request that nobody may see: it is in the body of another. */
const EVIL = `GET /evil HTTP/1.1\r\n${HOST}\r\n`;
const PLAIN = line("GET / HTTP/1.1");

type Short = [
  name: string,
  rule: string,
  sent: string,
  answers: string | string[],
  fate?: Fate | "cut",
];

/** What is refused closes; all else leaves the connection open. */
// deno-fmt-ignore
const short: Short[] = [
  // The line before the fields.
  ["a plain GET", "3", PLAIN, "200 GET a/"],
  ["a query", "3.2.1", line("GET /a?b=c&d HTTP/1.1"), "200 GET a/a?b=c&d"],
  ["HEAD", "RFC 9110, 9.3.2", line("HEAD / HTTP/1.1"), "200"],
  ["OPTIONS", "3.2.1", line("OPTIONS /x HTTP/1.1"), "200 OPTIONS a/x"],
  ["DELETE without a body", "6.3", line("DELETE / HTTP/1.1"), "200 DELETE a/"],
  ["PUT without a body", "6.3", line("PUT / HTTP/1.1"), "200 PUT a/"],
  ["a method that is not well known", "3.1", line("M-SEARCH / HTTP/1.1"), "200 M-SEARCH a/"],
  ["every sign of a token as a method", "3.1", line("!#$%&'*+-.^_`|~09 / HTTP/1.1"), "200 !#$%&'*+-.^_`|~09 a/"],
  ["a method of 32 bytes", "3", line(`${"A".repeat(32)} / HTTP/1.1`), `200 ${"A".repeat(32)} a/`],
  ["a method of 33 bytes", "3", line(`${"A".repeat(33)} / HTTP/1.1`), "501"],
  ["a method of 3000 bytes", "3", line(`${"A".repeat(3000)} / HTTP/1.1`), "501"],
  ["get in lower case, which is another method", "RFC 9110, 9.1", line("get / HTTP/1.1"), "501"],
  ["Post in mixed case", "RFC 9110, 9.1", line("Post / HTTP/1.1"), "501"],
  ["a slash in a method", "3.1", line("GE/T / HTTP/1.1"), "400"],
  ["a colon in a method", "3.1", line("GET: / HTTP/1.1"), "400"],
  ["a quote in a method", "3.1", line('"GET" / HTTP/1.1'), "400"],
  ["a NUL in a method", "3.1", line("G\0T / HTTP/1.1"), "400"],
  ["a method beyond ASCII", "3.1", line("G\xc9T / HTTP/1.1"), "400"],
  ["no method", "3", line(" / HTTP/1.1"), "400"],
  ["two spaces behind the method", "3", line("GET  / HTTP/1.1"), "400"],
  ["a tab behind the method", "3", line("GET\t/ HTTP/1.1"), "400"],
  ["two spaces behind the target", "3", line("GET /  HTTP/1.1"), "400"],
  ["a tab behind the target", "3", line("GET /\tHTTP/1.1"), "400"],
  ["a space behind the version", "3", line("GET / HTTP/1.1 "), "400"],
  ["a tab behind the version", "3", line("GET / HTTP/1.1\t"), "400"],
  ["white space before the line", "2.2", ` ${PLAIN}`, "400"],
  ["HTTP/0.9", "2.3", "GET /\r\n\r\n", "400"],
  ["no target", "3", line("GET HTTP/1.1"), "400"],
  ["an empty line before it", "2.2", `\r\n${PLAIN}`, "200 GET a/"],
  ["four empty lines before it", "2.2", `${"\r\n".repeat(4)}${PLAIN}`, "200 GET a/"],
  ["empty lines without end", "2.2", "\r\n".repeat(5), "400"],
  ["a bare LF before it", "2.2", `\n${PLAIN}`, "400"],
  ["a bare CR before it", "2.2", `\r${PLAIN}`, "400"],
  ["a bare LF behind the line", "2.2", `GET / HTTP/1.1\n${HOST}\r\n`, "400"],
  ["a bare CR behind the line", "2.2", `GET / HTTP/1.1\r${HOST}\r\n`, "400"],
  ["CR CR LF behind the line", "2.2", `GET / HTTP/1.1\r\r\n${HOST}\r\n`, "400"],
  ["bare LF everywhere", "2.2", "GET / HTTP/1.1\nHost: a\n\n", "400"],
  ["HTTP/1.2, for which 1.1 is answered", "RFC 9110, 2.5", line("GET / HTTP/1.2"), "200 GET a/"],
  ["HTTP/1.9", "RFC 9110, 2.5", line("GET / HTTP/1.9"), "200 GET a/"],
  ["HTTP/2.0", "RFC 9110, 15.6.6", line("GET / HTTP/2.0"), "505"],
  ["HTTP/3.0", "RFC 9110, 15.6.6", line("GET / HTTP/3.0"), "505"],
  ["HTTP/0.9 in full", "RFC 9110, 15.6.6", line("GET / HTTP/0.9"), "505"],
  ["HTTP/9.9", "RFC 9110, 15.6.6", line("GET / HTTP/9.9"), "505"],
  ["http/1.1 in lower case", "2.3", line("GET / http/1.1"), "400"],
  ["HTTP/1", "2.3", line("GET / HTTP/1"), "400"],
  ["HTTP/1.", "2.3", line("GET / HTTP/1."), "400"],
  ["HTTP/1.10", "2.3", line("GET / HTTP/1.10"), "400"],
  ["HTTP/1.1.1", "2.3", line("GET / HTTP/1.1.1"), "400"],
  ["HTTP/01.1", "2.3", line("GET / HTTP/01.1"), "400"],
  ["HTTP/11.1", "2.3", line("GET / HTTP/11.1"), "400"],
  ["HTTP/1,1", "2.3", line("GET / HTTP/1,1"), "400"],
  ["HTTP /1.1", "2.3", line("GET / HTTP /1.1"), "400"],
  ["HTTPS/1.1", "2.3", line("GET / HTTPS/1.1"), "400"],
  ["another protocol", "2.3", line("GET / ICY/1.1"), "400"],
  ["a TLS greeting", "2.2", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"],
  ["a greeting of SSH", "2.2", "SSH-2.0-OpenSSH_9.6\r\n", "400"],
  ["a command of SMTP", "2.2", "EHLO example.org\r\n", "400"],
  ["a command of Redis", "2.2", "*1\r\n$4\r\nPING\r\n", "400"],
  ["noise", "2.2", "\x00\xff\xfe\x80\x01\x02", "400"],

  // The target.
  ["two slashes", "3.2.1", line("GET //evil/ HTTP/1.1"), "200 GET a//evil/"],
  ["dots, which are resolved", "RFC 3986, 5.2.4", line("GET /a/../b/./c HTTP/1.1"), "200 GET a/b/c"],
  ["dots that lead above the root", "RFC 3986, 5.2.4", line("GET /../../b HTTP/1.1"), "200 GET a/b"],
  ["encoded dots", "RFC 3986, 5.2.4", line("GET /a/%2e%2E/b HTTP/1.1"), "200 GET a/b"],
  ["an encoded slash, which stays", "RFC 3986, 2.2", line("GET /a%2fb HTTP/1.1"), "200 GET a/a%2fb"],
  ["a percent sign that encodes nothing", "RFC 3986, 2.1", line("GET /100%zz HTTP/1.1"), "200 GET a/100%zz"],
  ["an encoded NUL", "RFC 3986, 2.1", line("GET /%00 HTTP/1.1"), "200 GET a/%00"],
  ["what browsers leave bare in a query", "3.2", line("GET /?|{}[] HTTP/1.1"), "200 GET a/?|{}[]"],
  ["a question mark in a query", "RFC 3986, 3.4", line("GET /?a?b HTTP/1.1"), "200 GET a/?a?b"],
  ["an empty query", "RFC 3986, 3.4", line("GET /a? HTTP/1.1"), "200 GET a/a?"],
  ["a backslash in a path", "3.2", line("GET /a\\b HTTP/1.1"), "400"],
  ["a backslash for the slash", "3.2", line("GET \\a HTTP/1.1"), "400"],
  ["a fragment", "3.2", line("GET /#a HTTP/1.1"), "400"],
  ["a space in a target", "3.2", line("GET /a b HTTP/1.1"), "400"],
  ["a control character", "3.2", line("GET /\x01 HTTP/1.1"), "400"],
  ["a NUL in a target", "3.2", line("GET /\0 HTTP/1.1"), "400"],
  ["DEL in a target", "3.2", line("GET /\x7f HTTP/1.1"), "400"],
  ["Latin-1 in a target", "3.2", line("GET /\xe9 HTTP/1.1"), "400"],
  ["UTF-8 in a target", "3.2", line("GET /\xc3\xa9 HTTP/1.1"), "400"],
  ["CR in a target", "3.2", line("GET /a\rb HTTP/1.1"), "400"],
  ["a path without a slash", "3.2.1", line("GET a HTTP/1.1"), "400"],
  ["a target of its limit", "3", line(`GET /${"a".repeat(199)} HTTP/1.1`), `200 GET a/${"a".repeat(199)}`],
  ["a target past it", "RFC 9110, 15.5.15", line(`GET /${"a".repeat(200)} HTTP/1.1`), "414"],
  ["a target that never ends", "RFC 9110, 15.5.15", `GET /${"a".repeat(5000)}`, "414"],
  ["the absolute form", "3.2.2", line("GET http://b/p?q HTTP/1.1"), "200 GET b/p?q"],
  ["the absolute form without a path", "3.2.2", line("GET http://b HTTP/1.1"), "200 GET b/"],
  ["the absolute form with a port", "3.2.2", line("GET http://b:81/ HTTP/1.1"), "200 GET b:81/"],
  ["its scheme in upper case", "3.2.2", line("GET HTTP://b/ HTTP/1.1"), "200 GET b/"],
  ["its query right behind the host", "3.2.2", line("GET http://b?q HTTP/1.1"), "200 GET b/?q"],
  ["the absolute form without Host", "3.2", "GET http://b/ HTTP/1.1\r\n\r\n", "400"],
  ["the absolute form with a bad Host", "3.2", "GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n", "400"],
  ["the absolute form on HTTP/1.0", "3.2.2", "GET http://b/ HTTP/1.0\r\n\r\n", "200 GET b/", "closed"],
  ["user information", "RFC 9110, 4.2.4", line("GET http://u:p@b/ HTTP/1.1"), "400"],
  ["an absolute form without a host", "RFC 9110, 4.2.1", line("GET http:///p HTTP/1.1"), "400"],
  ["an absolute form with a bad port", "3.2.2", line("GET http://b:x/ HTTP/1.1"), "400"],
  ["an absolute form of another scheme", "3.2.2", line("GET ftp://b/ HTTP/1.1"), "400"],
  ["a scheme without slashes", "3.2.2", line("GET http:b HTTP/1.1"), "400"],
  ["a backslash in its host", "3.2.2", line("GET http://b\\c/ HTTP/1.1"), "400"],
  ["the asterisk form", "3.2.4", line("OPTIONS * HTTP/1.1"), "200 OPTIONS a/"],
  ["the asterisk with GET", "3.2.4", line("GET * HTTP/1.1"), "400"],
  ["two asterisks", "3.2.4", line("OPTIONS ** HTTP/1.1"), "400"],
  ["CONNECT, which this handler refuses", "3.2.3", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "405", "closed"],
  ["CONNECT to IPv6", "3.2.3", "CONNECT [::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", "405", "closed"],
  ["CONNECT, and what is for its tunnel", "3.2.3", `CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n${EVIL}`, "405", "closed"],
  ["CONNECT without a port", "3.2.3", line("CONNECT b HTTP/1.1"), "400"],
  ["CONNECT with an empty port", "3.2.3", line("CONNECT b: HTTP/1.1"), "400"],
  ["CONNECT to a port out of range", "3.2.3", line("CONNECT b:65536 HTTP/1.1"), "400"],
  ["CONNECT with a path", "3.2.3", line("CONNECT /a HTTP/1.1"), "400"],
  ["CONNECT with a URI", "3.2.3", line("CONNECT http://b/ HTTP/1.1"), "400"],
  ["CONNECT with a body", "RFC 9110, 9.3.6", "CONNECT b:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "400"],
  ["the authority form with GET", "3.2.3", line("GET b:80 HTTP/1.1"), "400"],

  // Host.
  ["no Host", "3.2", "GET / HTTP/1.1\r\n\r\n", "400"],
  ["no Host on HTTP/1.0", "3.2", "GET / HTTP/1.0\r\n\r\n", "200 GET here/", "closed"],
  ["an empty Host", "3.2", host(""), "200 GET here/"],
  ["two Hosts", "3.2", host(" a\r\nHost: b"), "400"],
  ["the same Host twice", "3.2", host(" a\r\nHost: a"), "400"],
  ["two Hosts on HTTP/1.0", "3.2", "GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", "400"],
  ["a Host with a port", "3.2", host(" a:8080"), "200 GET a:8080/"],
  ["a Host with an empty port", "3.2", host(" a:"), "200 GET a/"],
  ["a Host of IPv6", "3.2", host(" [::1]:81"), "200 GET [::1]:81/"],
  ["a Host in upper case", "RFC 9110, 4.2.3", host(" EXAMPLE.org"), "200 GET example.org/"],
  ["white space around Host", "5.1", host(" \t a \t "), "200 GET a/"],
  ["a Host with a space", "3.2", host(" a b"), "400"],
  ["a list of Hosts", "3.2", host(" a, b"), "400"],
  ["a Host with a path", "3.2", host(" a/b"), "400"],
  ["a Host with a scheme", "3.2", host(" http://a"), "400"],
  ["a Host with a query", "3.2", host(" a?b"), "400"],
  ["a Host with a fragment", "3.2", host(" a#b"), "400"],
  ["a Host with user information", "3.2", host(" u@a"), "400"],
  ["a Host with a backslash", "3.2", host(" a\\b"), "400"],
  ["a Host with a percent sign", "3.2", host(" a%41"), "400"],
  ["a Host with a quote", "3.2", host(' "a"'), "400"],
  ["a Host with angle brackets", "3.2", host(" <a>"), "400"],
  ["a Host beyond ASCII", "3.2", host(" \xe9"), "400"],
  ["a Host with letters for a port", "3.2", host(" a:http"), "400"],
  ["a Host with a signed port", "3.2", host(" a:+80"), "400"],
  ["a Host with a port out of range", "3.2", host(" a:70000"), "400"],
  ["a Host with two ports", "3.2", host(" a:80:80"), "400"],
  ["a Host that is a port", "3.2", host(" :80"), "400"],
  ["a Host with an open bracket", "3.2", host(" [::1"), "400"],
  ["a Host that is no IPv6", "3.2", host(" [::g]"), "400"],
  ["a Host that is no IPv4", "3.2", host(" 1.2.3.256"), "400"],
  ["a Host with text behind a bracket", "3.2", host(" [::1]a"), "400"],

  // Fields.
  ["fields of all kinds", "5", field('A:b\r\nC: "d:e"\r\nF:\r\nG: \xe9'), "200 GET a/"],
  ["every sign of a token in a name", "5.1", field("!#$%&'*+-.^_`|~09aZ: x"), "200 GET a/"],
  ["tabs in a value", "RFC 9110, 5.5", field("A:\tb\tc\t"), "200 GET a/"],
  ["a space before the colon", "5.1", field("A : b"), "400"],
  ["a space before the colon of a length", "5.1", post("Content-Length : 5", "hello"), "400"],
  ["a tab before the colon", "5.1", field("A\t: b"), "400"],
  ["a space in a name", "5.1", field("A b: c"), "400"],
  ["no name", "5.1", field(": b"), "400"],
  ["no colon", "5.1", field("A"), "400"],
  ["a name beyond ASCII", "5.1", field("\xe9: b"), "400"],
  ["a NUL in a name", "5.1", field("A\0: b"), "400"],
  ["a parenthesis in a name", "5.1", field("A(: b"), "400"],
  ["an at sign in a name", "5.1", field("A@b: c"), "400"],
  ["a slash in a name", "5.1", field("A/b: c"), "400"],
  ["a NUL in a value", "RFC 9110, 5.5", field("A: b\0c"), "400"],
  ["a bell in a value", "RFC 9110, 5.5", field("A: \x07"), "400"],
  ["an escape in a value", "RFC 9110, 5.5", field("A: \x1b[1m"), "400"],
  ["DEL in a value", "RFC 9110, 5.5", field("A: \x7f"), "400"],
  ["a bare CR in a value", "2.2", field("A: b\rc"), "400"],
  ["a bare LF in a value", "2.2", field("A: b\nC: d"), "400"],
  ["CR CR LF behind a value", "2.2", field("A: b\r"), "400"],
  ["a fold by a space", "5.2", field("A: b\r\n c"), "400"],
  ["a fold by a tab", "5.2", field("A: b\r\n\tc"), "400"],
  ["a fold of nothing", "5.2", field("A:\r\n b"), "400"],
  ["a fold before the first field", "2.2", `GET / HTTP/1.1\r\n ${HOST}\r\n`, "400"],
  ["a folded length", "5.2", post("Content-Length:\r\n 5", "hello"), "400"],
  ["a bare LF at the end", "2.2", `GET / HTTP/1.1\r\n${HOST}\n`, "400"],
  ["a bare CR at the end", "2.2", `GET / HTTP/1.1\r\n${HOST}\rx`, "400"],
  ["a field near the limit", "5.4", field(`A: ${"b".repeat(1900)}`), "200 GET a/"],
  ["a field past the limit", "RFC 6585, 5", field(`A: ${"b".repeat(2100)}`), "431"],
  ["fields past the limit", "RFC 6585, 5", field("A: b\r\n".repeat(400) + "C: d"), "431"],
  ["a name that never ends", "RFC 6585, 5", `GET / HTTP/1.1\r\n${HOST}${"a".repeat(5000)}`, "431"],
  ["an Upgrade that nobody takes", "RFC 9110, 7.8", field("Connection: upgrade\r\nUpgrade: foo/2"), "200 GET a/"],
  ["HTTP2-Settings, which are no longer", "RFC 9113, 3.1", field("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), "200 GET a/"],
  ["__proto__ for a name", "5.1", field("__proto__: x\r\nconstructor: y"), "200 GET a/"],

  // Lengths.
  ["a body of five bytes", "6.2", post("Content-Length: 5", "hello"), "200 POST a/ hello"],
  ["a body of none", "6.2", post("Content-Length: 0"), "200 POST a/"],
  ["POST without a word of a body", "6.3", post("A: b"), "200 POST a/"],
  ["leading zeros", "6.2", post("Content-Length: 0005", "hello"), "200 POST a/ hello"],
  ["white space around a length", "5.1", post("Content-Length: \t5 ", "hello"), "200 POST a/ hello"],
  ["a body of GET, which is passed over", "RFC 9110, 9.3.1", `GET / HTTP/1.1\r\n${HOST}Content-Length: ${EVIL.length}\r\n\r\n${EVIL}`, "200 GET a/"],
  ["a body of HEAD", "RFC 9110, 9.3.2", `HEAD / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`, "200"],
  ["a body of DELETE", "RFC 9110, 9.3.5", `DELETE / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`, "200 DELETE a/ hello"],
  ["a request within a body", "6.3", post(`Content-Length: ${EVIL.length}`, EVIL), `200 POST a/ ${EVIL}`],
  ["a body of the limit", "RFC 9110, 15.5.14", post("Content-Length: 1000", "x".repeat(1000)), `200 POST a/ ${"x".repeat(1000)}`],
  ["a body past the limit", "RFC 9110, 15.5.14", post("Content-Length: 1001", "x".repeat(1001)), "413"],
  ["a body past it that is only told of", "RFC 9110, 15.5.14", post("Content-Length: 1001"), "413"],
  ["a plus before a length", "RFC 9110, 8.6", post("Content-Length: +5", "hello"), "400"],
  ["a minus before a length", "RFC 9110, 8.6", post("Content-Length: -5", "hello"), "400"],
  ["minus nothing", "RFC 9110, 8.6", post("Content-Length: -0"), "400"],
  ["a length in hexadecimal", "RFC 9110, 8.6", post("Content-Length: 0x5", "hello"), "400"],
  ["a length with a fraction", "RFC 9110, 8.6", post("Content-Length: 5.0", "hello"), "400"],
  ["a length with an exponent", "RFC 9110, 8.6", post("Content-Length: 5e0", "hello"), "400"],
  ["a length with an underscore", "RFC 9110, 8.6", post("Content-Length: 1_0", "hellohello"), "400"],
  ["a length in quotes", "RFC 9110, 8.6", post('Content-Length: "5"', "hello"), "400"],
  ["a length in parts", "RFC 9110, 8.6", post("Content-Length: 5 5", "hello"), "400"],
  ["an empty length", "RFC 9110, 8.6", post("Content-Length:", "hello"), "400"],
  ["a length of letters", "RFC 9110, 8.6", post("Content-Length: five", "hello"), "400"],
  ["a length in superscript", "RFC 9110, 8.6", post("Content-Length: \xb2", "hi"), "400"],
  ["a list of equal lengths", "RFC 9110, 8.6", post("Content-Length: 5, 5", "hello"), "400"],
  ["a list of different lengths", "6.3", post(`Content-Length: 0, ${EVIL.length}`, EVIL), "400"],
  ["equal lengths", "6.3", post("Content-Length: 5\r\nContent-Length: 5", "hello"), "400"],
  ["different lengths", "6.3", post(`Content-Length: 0\r\ncontent-length: ${EVIL.length}`, EVIL), "400"],
  ["a length past 2^53", "RFC 9110, 8.6", post("Content-Length: 9007199254740993"), "413"],
  ["a length past 2^64", "RFC 9110, 8.6", post("Content-Length: 18446744073709551621", "hello"), "413"],
  ["a bad length of GET", "RFC 9110, 8.6", field("Content-Length: x"), "400"],

  // Transfer codings.
  ["a chunk", "7.1", chunked("5\r\nhello\r\n0\r\n\r\n"), "200 POST a/ hello"],
  ["chunks", "7.1", chunked("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "200 POST a/ abcde"],
  ["no chunk but the last", "7.1", chunked("0\r\n\r\n"), "200 POST a/"],
  ["the last chunk with many zeros", "7.1", chunked("000\r\n\r\n"), "200 POST a/"],
  ["a size in either case", "7.1", chunked(`A\r\n${"x".repeat(10)}\r\nb\r\n${"y".repeat(11)}\r\n0\r\n\r\n`), `200 POST a/ ${"x".repeat(10)}${"y".repeat(11)}`],
  ["a size with leading zeros", "7.1", chunked("0005\r\nhello\r\n0\r\n\r\n"), "200 POST a/ hello"],
  ["CR LF within a chunk", "7.1", chunked("7\r\n0\r\n\r\nab\r\n0\r\n\r\n"), "200 POST a/ 0\r\n\r\nab"],
  ["CHUNKED in upper case", "7", post("Transfer-Encoding: CHUNKED", "0\r\n\r\n"), "200 POST a/"],
  ["an extension", "7.1.1", chunked("5;a=b\r\nhello\r\n0\r\n\r\n"), "200 POST a/ hello"],
  ["extensions of all kinds", "7.1.1", chunked('5;a;b=c ; d = "e;\\"\r\nhello\r\n0;f\r\n\r\n'.replace('\\"', '\\""')), "200 POST a/ hello"],
  ["trailers", "7.1.2", chunked("5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n"), "200 POST a/ hello"],
  ["chunks of GET", "RFC 9110, 9.3.1", `GET / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${ EVIL.length.toString(16) }\r\n${EVIL}\r\n0\r\n\r\n`, "200 GET a/"],
  ["a length beside chunks", "6.1", post("Content-Length: 5\r\nTransfer-Encoding: chunked", `0\r\n\r\n${EVIL}`), "400"],
  ["a length behind chunks", "6.1", post("Transfer-Encoding: chunked\r\nContent-Length: 5", `0\r\n\r\n${EVIL}`), "400"],
  ["chunks on HTTP/1.0", "6.1", `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, "400"],
  ["a coding that is not known", "6.1", post("Transfer-Encoding: gzip", "x"), "501"],
  ["one before chunked", "6.1", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), "501"],
  ["identity, which is no coding", "7", post("Transfer-Encoding: identity", "x"), "501"],
  ["chunked that is not the last", "6.3", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"), "400"],
  ["chunked twice", "7.1", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n"), "400"],
  ["chunked in two fields", "7.1", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), "400"],
  ["a coding in a field of its own", "6.1", post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), "400"],
  ["chunked with a parameter", "7.1", post("Transfer-Encoding: chunked;a=b", "0\r\n\r\n"), "400"],
  ["chunked in quotes", "6.1", post('Transfer-Encoding: "chunked"', "0\r\n\r\n"), "400"],
  ["chunked behind a comma", "RFC 9110, 5.6.1", post("Transfer-Encoding: ,chunked", "0\r\n\r\n"), "400"],
  ["xchunked", "6.1", post("Transfer-Encoding: xchunked", `0\r\n\r\n${EVIL}`), "501"],
  ["chunked with a vertical tab", "RFC 9110, 5.5", post("Transfer-Encoding: \x0bchunked", "0\r\n\r\n"), "400"],
  ["chunked with a NUL behind it", "RFC 9110, 5.5", post("Transfer-Encoding: chunked\0", "0\r\n\r\n"), "400"],
  ["an empty coding", "6.1", post("Transfer-Encoding:", "0\r\n\r\n"), "400"],
  ["a space before its colon", "5.1", post("Transfer-Encoding : chunked", "0\r\n\r\n"), "400"],
  ["a fold before chunked", "5.2", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), "400"],
  ["Transfer_Encoding, which is another field", "5.1", post("Transfer_Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"), "200 POST a/ 0\r\n\r\n"],
  ["a chunk without a size", "7.1", chunked("\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a size with a plus", "7.1", chunked("+5\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a size with a minus", "7.1", chunked("-5\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a size with 0x", "7.1", chunked("0x5\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a size of letters", "7.1", chunked("five\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a size with an underscore", "7.1", chunked("1_0\r\nhellohellohello!\r\n0\r\n\r\n"), "400"],
  ["white space before a size", "7.1", chunked(" 5\r\nhello\r\n0\r\n\r\n"), "400"],
  ["white space behind a size", "7.1", chunked("5 \r\nhello\r\n0\r\n\r\n"), "400"],
  ["a size past 2^53", "7.1", chunked("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), "413"],
  ["a size past 2^64", "7.1", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), "413"],
  ["a chunk past the limit", "RFC 9110, 15.5.14", chunked(`3e9\r\n${"x".repeat(1001)}`), "413"],
  ["chunks past the limit", "RFC 9110, 15.5.14", chunked(`1f4\r\n${"x".repeat(500)}\r\n`.repeat(3) + "0\r\n\r\n"), "413"],
  ["a bare LF behind a size", "7.1", chunked("5\nhello\r\n0\r\n\r\n"), "400"],
  ["a bare CR behind a size", "7.1", chunked("5\rhello\r\n0\r\n\r\n"), "400"],
  ["a bare LF behind a chunk", "7.1", chunked("5\r\nhello\n0\r\n\r\n"), "400"],
  ["a chunk longer than its size", "7.1", chunked("3\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a chunk shorter than its size", "7.1", chunked("6\r\nhello\r\n0\r\n\r\n"), "400"],
  ["a bare LF at the very end", "7.1", chunked("0\r\n\n"), "400"],
  ["a bare CR at the very end", "7.1", chunked("0\r\n\rx"), "400"],
  ["an extension with a bare LF", "7.1.1", chunked(`5;a\nhello\r\n0\r\n\r\n`), "400"],
  ["an extension with a NUL", "7.1.1", chunked("5;a=\0\r\nhello\r\n0\r\n\r\n"), "400"],
  ["an extension without a name", "7.1.1", chunked("5;\r\nhello\r\n0\r\n\r\n"), "400"],
  ["an extension without a value", "7.1.1", chunked("5;a=\r\nhello\r\n0\r\n\r\n"), "400"],
  ["an extension with an open quote", "7.1.1", chunked('5;a="b\r\nhello\r\n0\r\n\r\n'), "400"],
  ["extensions past their limit", "7.1.1", chunked(`5;a=${"b".repeat(20_000)}\r\nhello\r\n0\r\n\r\n`), "431"],
  ["a trailer of a length", "RFC 9110, 6.5.1", chunked("0\r\nContent-Length: 5\r\n\r\n"), "400"],
  ["a trailer of a coding", "RFC 9110, 6.5.1", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n"), "400"],
  ["a trailer of a Host", "RFC 9110, 6.5.1", chunked("0\r\nHost: b\r\n\r\n"), "400"],
  ["a trailer of an authorization", "RFC 9110, 6.5.1", chunked("0\r\nAuthorization: x\r\n\r\n"), "400"],
  ["a trailer without a colon", "7.1.2", chunked("0\r\nA\r\n\r\n"), "400"],
  ["a folded trailer", "5.2", chunked("0\r\nA: b\r\n c\r\n\r\n"), "400"],
  ["a trailer with a space before its colon", "5.1", chunked("0\r\nA : b\r\n\r\n"), "400"],
  ["trailers past the limit", "RFC 6585, 5", chunked(`0\r\n${"A: b\r\n".repeat(400)}\r\n`), "431"],

  // What comes after it.
  ["two requests at once", "9.3.2", PLAIN + line("GET /2 HTTP/1.1"), [
    "200 GET a/",
    "200 GET a/2",
  ]],
  ["a body between two of them", "9.3.2", post("Content-Length: 5", "hello") + PLAIN, ["200 POST a/ hello", "200 GET a/"]],
  ["chunks between two of them", "9.3.2", chunked("1\r\nx\r\n0\r\n\r\n") + PLAIN, ["200 POST a/ x", "200 GET a/"]],
  ["ten of them", "9.3.2", PLAIN.repeat(10), Array(10).fill("200 GET a/")],
  ["an empty line between them", "2.2", `${PLAIN}\r\n${PLAIN}`, [
    "200 GET a/",
    "200 GET a/",
  ]],
  ["noise behind a good one", "2.2", `${PLAIN}\0\0\0`, ["200 GET a/", "400"], "closed"],
  ["a bad one between good ones", "9.3.2", `${PLAIN}GET  / HTTP/1.1\r\n\r\n${PLAIN}`, ["200 GET a/", "400"], "closed"],
  ["more than its length", "6.3", post("Content-Length: 3", "hello\r\n\r\n"), [
    "200 POST a/ hel",
    "400",
  ], "closed"],
  ["Connection: close", "9.6", field("Connection: close"), "200 GET a/", "closed"],
  ["CLOSE in a list", "9.6", field("Connection: foo, CLOSE"), "200 GET a/", "closed"],
  ["close in a second field", "9.6", field("Connection: foo\r\nConnection: close"), "200 GET a/", "closed"],
  ["close and keep-alive", "9.3", field("Connection: keep-alive, close"), "200 GET a/", "closed"],
  ["what follows a close", "9.6", field("Connection: close") + EVIL, "200 GET a/", "closed"],
  ["Connection: keep-alive", "9.3", field("Connection: keep-alive"), "200 GET a/"],
  ["Connection: closed, which is no close", "9.6", field("Connection: closed"), "200 GET a/"],
  ["HTTP/1.0", "9.3", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "200 GET a/", "closed"],
  ["HTTP/1.0 and keep-alive", "9.3", "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "200 GET a/"],
  ["HTTP/1.0 and Keep-Alive alone", "9.3", "GET / HTTP/1.0\r\nHost: a\r\nKeep-Alive: timeout=5\r\n\r\n", "200 GET a/", "closed"],
  ["a body on HTTP/1.0", "6.2", "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "200 POST a/ hi", "closed"],
  ["an upgrade on HTTP/1.0", "RFC 9110, 7.8", "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "200 GET a/", "closed"],

  // Expectations.
  ["a body that is waited for", "RFC 9110, 10.1.1", post("Expect: 100-continue\r\nContent-Length: 2", "hi"), ["100", "200 POST a/ hi"]],
  ["100-Continue in any case", "RFC 9110, 10.1.1", post("Expect: 100-CONTINUE\r\nContent-Length: 2", "hi"), ["100", "200 POST a/ hi"]],
  ["an expectation without a body", "RFC 9110, 10.1.1", field("Expect: 100-continue"), "200 GET a/"],
  ["an expectation on HTTP/1.0", "RFC 9110, 10.1.1", "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "200 POST a/ hi", "closed"],
  ["another expectation", "RFC 9110, 10.1.1", field("Expect: the moon"), "417"],
  ["two expectations", "RFC 9110, 10.1.1", post("Expect: 100-continue, 100-continue\r\nContent-Length: 2", "hi"), "417"],

  // The client half-closes.
  ["a good one, and an end", "9.6", PLAIN, "200 GET a/", "cut"],
  ["two good ones, and an end", "9.6", PLAIN.repeat(2), [
    "200 GET a/",
    "200 GET a/",
  ], "cut"],
  ["nothing, and an end", "9.6", "", [], "cut"],
  ["an empty line, and an end", "2.2", "\r\n", [], "cut"],
  ["a good one and a half, and an end", "8", `${PLAIN}GET /h`, ["200 GET a/", "400"], "cut"],
];

function rowOf([name, rule, sent, given, fate]: Short): Row {
  const answers = typeof given === "string" ? [given] : given;
  const refused = answers.length === 1 && /^[45]\d\d$/.test(answers[0]);
  return {
    name,
    rule,
    sent,
    answers,
    fate: fate === "cut" || (fate ?? (refused ? "closed" : "open")) === "closed"
      ? "closed"
      : "open",
    fin: fate === "cut",
  };
}

export const rows: readonly Row[] = short.map(rowOf);

/** Requests to be cut at every byte, with how many requests they are. */
export const cutting: readonly Row[] = [
  ...[
    "fields of all kinds",
    "the absolute form with a port",
    "CR LF within a chunk",
    "extensions of all kinds",
    "trailers",
    "a body between two of them",
    "a fold by a space",
    "a length beside chunks",
    "a trailer of a length",
    "a bare LF behind a chunk",
  ].map((name) => {
    const row = rows.find((row) => row.name === name);
    if (row === undefined) throw new Error(`No such row: ${name}`);
    return row;
  }),
];
