import { credentials } from "@grpc/grpc-js";
import { createPatchbayClient, reasonOf, type WhoAmIResponse } from "patchbay/client/grpc-js";

const [address = "", key = ""] = process.argv.slice(2);
const patchbay = createPatchbayClient({ address, credentials: credentials.createInsecure(), apiKey: key });
const me: WhoAmIResponse = await patchbay.apiKeys.whoAmI({});
// @ts-expect-error: the answer is typed, so a field that it does not have is a mistake
void me.password;

const stranger = createPatchbayClient({
  address,
  credentials: credentials.createInsecure(),
  apiKey: () => "another",
});
stranger.apiKeys.whoAmI({}, (error, response) => {
  // @ts-expect-error: so is the answer that a callback gets
  void response?.password;
  console.log(JSON.stringify({ name: me.name, refusal: reasonOf(error) }));
});
