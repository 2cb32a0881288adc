import type { AgentRow } from "../agent/row.ts";
import { isResting } from "../agent/state.ts";
import { EngramError } from "../errors.ts";
import { engineLimits, fileLimits } from "../limits.ts";
import { makeFileWriter } from "../store/agent-file.ts";
import type { Aside, Draft } from "../store/store.ts";
import { wholeDraft } from "./call-model.ts";
import type { Parts } from "./parts.ts";

/**
 * The lines of a resting agent's file. They are of one moment, that of the first: what happens to the agent while they
 * are read is not in them. Fails with not_found, corrupt, or failed_precondition while the agent works.
 */
export async function* exportAgent(parts: Parts, agentId: string): AsyncGenerator<string> {
  const { store, clock } = parts;
  const { sequence, draft, aside } = await takeCut(parts, agentId);
  const writer = makeFileWriter({ agentId, ...aside });
  yield writer.head(clock.nowMs());
  for (let after = 0; after < sequence;) {
    const page = await store.readStored(agentId, after);
    for (const stored of page) {
      if (stored.sequence > sequence) break;
      yield bounded(writer.event(stored), stored.sequence);
    }
    after = page.at(-1)?.sequence ?? sequence;
  }
  if (draft !== null) yield* writer.draft(draft);
  yield writer.end();
}

type Cut = { readonly sequence: number; readonly draft: Draft | null; readonly aside: Aside };

/** What belongs to the agent's head besides the log, which only grows: read between two looks that find the same head. */
async function takeCut(parts: Parts, agentId: string): Promise<Cut> {
  for (let tries = 0; tries < engineLimits.conflictsMax; tries++) {
    const { sequence } = await restingRow(parts, agentId);
    const draft = await wholeDraft(parts, agentId);
    const aside = await parts.store.aside(agentId);
    const after = await restingRow(parts, agentId);
    if (after.sequence === sequence) return { sequence, draft, aside };
  }
  throw new EngramError("unavailable", `agent ${agentId} is busy; try again`, { transient: true });
}

async function restingRow({ store }: Parts, agentId: string): Promise<AgentRow> {
  const row = await store.row(agentId, store.nowMs());
  if (row === null) throw new EngramError("not_found", `no agent ${agentId}`);
  if (isResting(row.status)) return row;
  throw new EngramError(
    "failed_precondition",
    `agent ${agentId} is working, and so would its copy: pause it first`,
  );
}

/** What could not be imported is not exported either. */
function bounded(line: string, sequence: number): string {
  const { lineBytesMax } = fileLimits;
  if (line.length * 3 <= lineBytesMax || Buffer.byteLength(line) <= lineBytesMax) return line;
  throw new EngramError(
    "resource_exhausted",
    `event ${sequence} is longer than the ${lineBytesMax} bytes that a line of a file may have`,
  );
}
