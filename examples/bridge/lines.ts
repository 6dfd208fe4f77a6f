/**
 * Splits bytes into lines, the last one with or without its newline. Of a
 * line longer than `max` characters the first `max + 1` come, once.
 */
export async function* lines(
  chunks: AsyncIterable<Uint8Array>,
  max: number,
): AsyncGenerator<string> {
  const decoder = new TextDecoder(); // keeps a character that was cut in two
  let line = "";
  for await (const chunk of chunks) {
    const parts = decoder.decode(chunk, { stream: true }).split("\n");
    for (const part of parts.slice(0, -1)) {
      yield line + part;
      line = "";
    }
    line = (line + parts.at(-1)).slice(0, max + 1);
  }
  line += decoder.decode();
  if (line !== "") yield line;
}
