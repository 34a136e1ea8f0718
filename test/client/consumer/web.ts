import { createPatchbayClient, reasonOf, type WhoAmIResponse } from "patchbay/web";

/** Exported rather than run: a browser has neither arguments nor a standard output. */
export async function run(baseUrl: string, key: string): Promise<unknown> {
  const patchbay = createPatchbayClient({ baseUrl, apiKey: key });
  const me: WhoAmIResponse = await patchbay.apiKeys.whoAmI({});
  // @ts-expect-error: the answer is typed, so a field that it does not have is a mistake
  void me.password;

  const stranger = createPatchbayClient({ baseUrl, apiKey: () => "another" });
  const refusal = await stranger.apiKeys.whoAmI({}).catch(reasonOf);
  return { name: me.name, refusal };
}
