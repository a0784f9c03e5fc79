// A real OpenID provider (panva's oidc-provider) on a loopback port, for tests.
//
//   node provider.mjs '{"port": 0, "clients": [...], "accounts": {"ada": {"role": "teacher"}}}'
//
// It prints its issuer once it listens, and ends with its standard input. Whoever is sent
// to it to log in is logged in at once, as `login_hint` says, or as `ada`.
//
// Beside what the specifications name it answers to the test that started it:
//
//   POST /-/keys  {"do": "publish"}  add a key that does not sign yet
//                 {"do": "rotate"}   sign with a new key; the others stay published
//                 {"do": "promote"}  sign with the key that was published last
//                 {"do": "retire"}   withdraw every key that does not sign
//   POST /-/fail  {"/jwks": 500}     answer so instead; "hang" for not at all, null ends it
//   GET  /-/seen                     how often each path was asked for
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';

const told = JSON.parse(process.argv[2] ?? '{}');
const accounts = told.accounts ?? {
  ada: { role: 'teacher' }, ben: { role: 'student' }, root: { role: 'admin' },
};
const seen = {};
const failing = {};
let keys = [newKey()];
let provider;
let issuer;

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

// Tokens for urn:lms are JWTs for the audience `lms`; those for urn:opaque say nothing.
function resource(_, indicator) {
  return {
    scope: 'lms',
    audience: 'lms',
    accessTokenTTL: told.lifetime ?? 300,
    accessTokenFormat: indicator === 'urn:opaque' ? 'opaque' : 'jwt',
    jwt: { sign: { alg: 'RS256' } },
  };
}

function configuration() {
  return {
    // Of the module and not of one provider, so that tokens outlive a change of keys.
    adapter: (model) => new MemoryAdapter(model),
    clients: told.clients ?? [],
    jwks: { keys },
    cookies: { keys: ['only for tests'] },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', 'lms'],
    claims: { openid: ['sub', 'role', 'name', 'acr', 'amr', 'auth_time'], sid: null },
    acrValues: ['pwd', 'mfa'],
    conformIdTokenClaims: false,
    issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    interactions: { url: (_, interaction) => `/-/interaction/${interaction.uid}` },
    findAccount: (_, id) => accounts[id] && {
      accountId: id,
      claims: () => ({ sub: id, ...accounts[id] }),
    },
    extraTokenClaims: (ctx, token) => {
      const code = ctx.oidc.entities.AuthorizationCode;
      return {
        ...accounts[token.accountId ?? token.clientId],
        ...(code ? { acr: code.acr, amr: code.amr, auth_time: code.authTime } : {}),
      };
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      dPoP: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        getCertificate: (ctx) => decodeURIComponent(ctx.get('x-client-cert')) || undefined,
        certificateAuthorized: () => true,
        certificateSubjectMatches: () => true,
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:lms',
        useGrantedResource: () => true,
        getResourceServerInfo: resource,
      },
    },
  };
}

function renew() {
  provider = new Provider(issuer, configuration());
  provider.on('server_error', (_, error) => console.error(error));
}

async function logIn(request, response) {
  const { params, prompt, session, grantId } = await provider.interactionDetails(request, response);
  const acr = params.acr_values?.split(' ')[0] ?? 'pwd';
  const accountId = session?.accountId ?? params.login_hint ?? 'ada';
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope('openid offline_access');
  grant.addOIDCClaims(['sub', 'role', 'name', 'acr', 'amr', 'auth_time', 'sid']);
  grant.addResourceScope(params.resource ?? 'urn:lms', 'lms');
  await provider.interactionFinished(request, response, {
    ...(prompt.name === 'login'
      ? { login: { accountId, acr, amr: acr === 'mfa' ? ['pwd', 'otp'] : ['pwd'] } } : {}),
    consent: { grantId: await grant.save() },
  }, { mergeWithLastSubmission: true });
}

async function control(request, response) {
  let text = '';
  for await (const chunk of request) text += chunk;
  const order = text ? JSON.parse(text) : {};
  if (request.url === '/-/keys') {
    if (order.do === 'publish') keys.push(newKey());
    if (order.do === 'rotate') keys.unshift(newKey());
    if (order.do === 'promote') keys.unshift(keys.pop());
    if (order.do === 'retire') keys = [keys[0]];
    renew();
  }
  if (request.url === '/-/fail') Object.assign(failing, order);
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(request.url === '/-/seen' ? seen : keys.map((key) => key.kid)));
}

const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path.startsWith('/-/interaction/')) {
    logIn(request, response).catch((error) => response.writeHead(500).end(String(error)));
    return;
  }
  if (path.startsWith('/-/')) {
    control(request, response);
    return;
  }
  seen[path] = (seen[path] ?? 0) + 1;
  if (failing[path] === 'hang') return;
  if (failing[path]) response.writeHead(failing[path]).end();
  else provider.callback()(request, response);
});
server.listen(told.port ?? 0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  renew();
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit(0));
