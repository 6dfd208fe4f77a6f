const replayable = new WeakSet<Request>();

/** A request of a client's middleware whose body can be sent again. */
export function markReplayable(request: Request): void {
  replayable.add(request);
}

/** Whether `next` takes this request, with its body, more than once. */
export function isReplayable(request: Request): boolean {
  return replayable.has(request);
}
