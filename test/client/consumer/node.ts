import { createPatchbayClient, reasonOf, type WhoAmIResponse } from "patchbay/client";

const [address = "", key = ""] = process.argv.slice(2);
const patchbay = createPatchbayClient({ baseUrl: `http://${address}`, apiKey: key });
const me: WhoAmIResponse = await patchbay.apiKeys.whoAmI({});
// @ts-expect-error: the answer is typed, so a field that it does not have is a mistake
void me.password;

const stranger = createPatchbayClient({ baseUrl: `http://${address}`, apiKey: () => "another" });
const refusal = await stranger.apiKeys.whoAmI({}).catch(reasonOf);
console.log(JSON.stringify({ name: me.name, refusal }));
