import type { Integration } from "./integration.ts";
import airtable from "./presets/airtable.json" with { type: "json" };
import asana from "./presets/asana.json" with { type: "json" };
import auth0 from "./presets/auth0.json" with { type: "json" };
import bitbucket from "./presets/bitbucket.json" with { type: "json" };
import box from "./presets/box.json" with { type: "json" };
import calendly from "./presets/calendly.json" with { type: "json" };
import cloudflare from "./presets/cloudflare.json" with { type: "json" };
import confluence from "./presets/confluence.json" with { type: "json" };
import datadog from "./presets/datadog.json" with { type: "json" };
import digitalocean from "./presets/digitalocean.json" with { type: "json" };
import discord from "./presets/discord.json" with { type: "json" };
import dropbox from "./presets/dropbox.json" with { type: "json" };
import figma from "./presets/figma.json" with { type: "json" };
import github from "./presets/github.json" with { type: "json" };
import gitlab from "./presets/gitlab.json" with { type: "json" };
import google from "./presets/google.json" with { type: "json" };
import hubspot from "./presets/hubspot.json" with { type: "json" };
import jira from "./presets/jira.json" with { type: "json" };
import linear from "./presets/linear.json" with { type: "json" };
import linkedin from "./presets/linkedin.json" with { type: "json" };
import mailchimp from "./presets/mailchimp.json" with { type: "json" };
import microsoft from "./presets/microsoft.json" with { type: "json" };
import midtrans from "./presets/midtrans.json" with { type: "json" };
import monday from "./presets/monday.json" with { type: "json" };
import notion from "./presets/notion.json" with { type: "json" };
import okta from "./presets/okta.json" with { type: "json" };
import openai from "./presets/openai.json" with { type: "json" };
import pipedrive from "./presets/pipedrive.json" with { type: "json" };
import plaid from "./presets/plaid.json" with { type: "json" };
import salesforce from "./presets/salesforce.json" with { type: "json" };
import sendgrid from "./presets/sendgrid.json" with { type: "json" };
import sentry from "./presets/sentry.json" with { type: "json" };
import shopify from "./presets/shopify.json" with { type: "json" };
import slack from "./presets/slack.json" with { type: "json" };
import spotify from "./presets/spotify.json" with { type: "json" };
import stripe from "./presets/stripe.json" with { type: "json" };
import twilio from "./presets/twilio.json" with { type: "json" };
import webflow from "./presets/webflow.json" with { type: "json" };
import x from "./presets/x.json" with { type: "json" };
import xendit from "./presets/xendit.json" with { type: "json" };
import xero from "./presets/xero.json" with { type: "json" };
import zendesk from "./presets/zendesk.json" with { type: "json" };
import zoho from "./presets/zoho.json" with { type: "json" };
import zoom from "./presets/zoom.json" with { type: "json" };

/** A well-known service, and where its facts are from. */
export interface Preset extends Integration {
  /** The service's own documentation. */
  readonly docs: string;
  /** When its facts were last compared with that. */
  readonly reviewed: string;
  /** Changes that the service has announced. */
  readonly deadlines?: readonly { readonly date: string; readonly what: string }[];
}

/** In the order of their slugs. That each is what its type says is seen by a test, with the schema beside them. */
export const presets = [
  airtable,
  asana,
  auth0,
  bitbucket,
  box,
  calendly,
  cloudflare,
  confluence,
  datadog,
  digitalocean,
  discord,
  dropbox,
  figma,
  github,
  gitlab,
  google,
  hubspot,
  jira,
  linear,
  linkedin,
  mailchimp,
  microsoft,
  midtrans,
  monday,
  notion,
  okta,
  openai,
  pipedrive,
  plaid,
  salesforce,
  sendgrid,
  sentry,
  shopify,
  slack,
  spotify,
  stripe,
  twilio,
  webflow,
  x,
  xendit,
  xero,
  zendesk,
  zoho,
  zoom,
] as readonly Preset[];

const bySlug: ReadonlyMap<string, Preset> = new Map(presets.map((preset) => [preset.slug, preset]));

/** The preset that has the slug. */
export function findPreset(slug: string): Preset | undefined {
  return bySlug.get(slug);
}
