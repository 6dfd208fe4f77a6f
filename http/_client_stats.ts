/** Counters of a client's pool. */
export interface ClientStats {
  /** Connections that there are, those being made included. */
  readonly open: number;
  /** Connections that nobody uses. */
  readonly idle: number;
  /** Requests that wait for a connection. */
  readonly queued: number;
  /** The same for each origin. */
  readonly hosts: Record<
    string,
    { readonly open: number; readonly idle: number; readonly queued: number }
  >;
}

/** Counters of the connections to one origin. */
export type HostStats = ClientStats["hosts"][string];
