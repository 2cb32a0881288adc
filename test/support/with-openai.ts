import { openOpenAi, type OpenAiSettings } from "../../src/llm/openai/openai.ts";
import { openFakeOpenAi, type FakeOpenAi } from "./fake-openai.ts";
import { sharing, type WithServer } from "./with-server.ts";

/** A stand-in for a server of OpenAI's API, and adapters that have the key that it wants. */
export const withOpenAi = async (
  apiKey: string | null = null,
): Promise<WithServer<FakeOpenAi, OpenAiSettings>> =>
  sharing(await openFakeOpenAi({ apiKey }), (settings, more) =>
    openOpenAi({ ...settings, apiKey, ...more }),
  );
