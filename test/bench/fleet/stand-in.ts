/** A stand-in for an Ollama server that takes its time and then says one word. */
export type StandIn = {
  readonly url: string;
  /** How often it was asked. */
  calls(): number;
  close(): Promise<void>;
};

export function openStandIn(delayMs: number): StandIn {
  let calls = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => {
      await request.arrayBuffer();
      calls++;
      await Bun.sleep(delayMs);
      const common = { model: "stand-in", created_at: "2026-01-31T12:00:00Z" };
      const said = { ...common, message: { role: "assistant", content: "ok" }, done: false };
      const done = { ...common, message: { role: "assistant", content: "" }, done: true };
      const counts = { done_reason: "stop", prompt_eval_count: 20, eval_count: 1 };
      return new Response(`${JSON.stringify(said)}\n${JSON.stringify({ ...done, ...counts })}\n`, {
        headers: { "content-type": "application/x-ndjson" },
      });
    },
  });
  return { url: server.url.origin, calls: () => calls, close: () => server.stop(true) };
}
