import { summaryOf } from "../agent/context.ts";
import type { ModelCall, Usage } from "../agent/event.ts";
import { condensingRequestOf } from "../agent/request.ts";
import type { AgentState } from "../agent/state.ts";
import { turnLimits } from "../limits.ts";
import type { Parts } from "./parts.ts";

/**
 * Has the model condense the first `items` of the transcript. Nobody is shown what it writes, so nothing of it is kept
 * before it is whole; after a crash it is asked again. Fails as the model does, and with `signal`'s reason.
 */
export async function summarize(
  { model }: Parts,
  {
    state,
    call,
    items,
  }: { readonly state: AgentState; readonly call: ModelCall; readonly items: number },
  signal: AbortSignal,
): Promise<{ readonly summary: string; readonly usage: Usage }> {
  const request = condensingRequestOf(state, call, items);
  let written = "";
  let chars = 0;
  let usage: Usage = { promptTokens: 0, completionTokens: 0 };
  for await (const piece of model.call(request, signal)) {
    if (piece.kind === "text") written += piece.text;
    if (piece.kind === "done") ({ usage } = piece);
    if (piece.kind === "text" || piece.kind === "thinking") chars += piece.text.length;
    // What goes on for so long is no summary any more; its beginning may be one.
    if (chars > turnLimits.replyBytesMax) break;
  }
  return { summary: summaryOf(state, items, written), usage };
}
