/** How long one attempt has before the next address is tried beside it. */
const ATTEMPT_DELAY = 250;

/** An address of a host, as a lookup gives it. */
export interface HostAddress {
  readonly address: string;
  readonly family: number;
}

/** The families in turn, beginning with that of the first (RFC 8305 §4). */
export function interleave(
  addresses: readonly HostAddress[],
): readonly string[] {
  const family = addresses[0]?.family;
  const first = addresses.filter((a) => a.family === family);
  const second = addresses.filter((a) => a.family !== family);
  const mixed: string[] = [];
  for (let i = 0; i < Math.max(first.length, second.length); i++) {
    if (i < first.length) mixed.push(first[i].address);
    if (i < second.length) mixed.push(second[i].address);
  }
  return mixed;
}

/**
 * The first connection that stands, of a host that has several addresses
 * (RFC 8305 §5): the next is tried when one fails, or has not answered within
 * 250 ms. The others are given up; when all fail, with the first's error.
 */
export function raceAddresses<T>(
  addresses: readonly string[],
  attempt: (address: string, signal: AbortSignal) => Promise<T>,
  options: { signal?: AbortSignal; discard: (late: T) => void },
): Promise<T> {
  const { signal, discard } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const losers = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let next = 0;
    let running = 0;
    let over = false;
    let failed = false;
    let failure: unknown;
    const settle = () => {
      over = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      losers.abort();
    };
    const abort = () => {
      settle();
      reject(signal!.reason);
    };
    const start = () => {
      clearTimeout(timer);
      running++;
      attempt(addresses[next++], losers.signal).then((won) => {
        if (over) return discard(won);
        settle();
        resolve(won);
      }, (error) => {
        running--;
        if (over) return;
        if (!failed) failure = error;
        failed = true;
        if (next < addresses.length) start();
        else if (running === 0) {
          settle();
          reject(failure);
        }
      });
      if (!over && next < addresses.length) {
        timer = setTimeout(start, ATTEMPT_DELAY);
      }
    };
    signal?.addEventListener("abort", abort, { once: true });
    start();
  });
}
