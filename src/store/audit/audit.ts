/** How much there is to be looked at; `events` null: nobody counts them. */
export type Size = { readonly agents: number; readonly events: number | null };

/** Is told what an audit finds, as it goes. */
export interface Tell {
  /** So many more events were read. */
  read(events: number): void;
  /** An agent was walked, and this is wrong first, in plain words that go on "agent X: "; null: nothing. */
  agent(agentId: string, fault: string | null): void;
  /** Something is wrong beside the agents. */
  fault(text: string): void;
  /** What is no fault. */
  note(text: string): void;
}

/** Shows that a store is what was written, or what is wrong; reads only, so that engines can work on it meanwhile. Whoever opened it closes it. */
export interface Audit {
  /** What is known of it now, to show how far a walk is. */
  size(): Size;
  /** Walks every agent, and looks at what they have in common. */
  all(tell: Tell): Promise<void>;
  /** Walks one. Fails with not_found. */
  one(agentId: string, tell: Tell): Promise<void>;
  close(): void;
}
