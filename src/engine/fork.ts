import type { AgentSpec, Event } from "../agent/event.ts";
import { fold } from "../agent/fold.ts";
import type { AgentState } from "../agent/state.ts";
import type { Dated } from "../store/store.ts";
import type { Parts } from "./parts.ts";
import type { Beginning } from "./record.ts";

type Wish = {
  readonly parentId: string;
  /** The state behind the last event that is copied. */
  readonly parent: AgentState;
  readonly metadata: AgentSpec["metadata"];
};

/**
 * What a fork begins with. A log of one page is copied with the creation; of a longer one all is put aside for it, page by
 * page, so that nobody waits for more than one. Fails as reading does.
 */
export async function forkOf(
  parts: Parts,
  { parentId, parent, metadata }: Wish,
): Promise<Beginning> {
  const agentId = Bun.randomUUIDv7();
  const { sequence, spec } = parent;
  const copied = await copyTo(parts, agentId, { parentId, sequence });
  const event: Event = {
    type: "AgentForked",
    parent: { agentId: parentId, sequence },
    metadata: { ...spec.metadata, ...metadata },
    workedMs: 0,
  };
  const forked = { atMs: parts.clock.nowMs(), event };
  const state = fold([{ ...forked, sequence: sequence + 1 }], parent);
  return { agentId, staged: copied.staged, events: [...copied.events, forked], state };
}

/** The events 1 to `sequence`: put aside, or, where they are a page, as they are. */
async function copyTo(
  { store }: Parts,
  agentId: string,
  { parentId, sequence }: { readonly parentId: string; readonly sequence: number },
): Promise<{ readonly staged: number; readonly events: readonly Dated[] }> {
  const pageBehind = async (after: number): Promise<readonly Dated[]> =>
    (await store.read(parentId, after))
      .filter((logged) => logged.sequence <= sequence)
      .map(({ atMs, event }) => ({ atMs, event }));
  const first = await pageBehind(0);
  if (first.length === sequence) return { staged: 0, events: first };
  let staged = 0;
  for (let page = first; page.length > 0; page = await pageBehind(staged)) {
    await store.stage(agentId, staged, page, store.nowMs());
    staged += page.length;
  }
  return { staged, events: [] };
}
