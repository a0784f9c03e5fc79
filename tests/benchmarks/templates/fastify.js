// The same job on Fastify: HS256 remembered by its token, a window per subject in Redis
// (the plugin has no token bucket), one process.
import Fastify from "fastify";
import metrics from "fastify-metrics";
import proxy from "@fastify/http-proxy";
import jwt from "@fastify/jwt";
import rateLimit from "@fastify/rate-limit";
import Redis from "ioredis";

const gateway = Fastify({ logger: false, keepAliveTimeout: 600_000 });
await gateway.register(metrics);
await gateway.register(jwt, {
  secret: "@{secret}",
  verify: { cache: true, allowedIss: "lumina", allowedAud: "lms", algorithms: ["HS256"] },
});
gateway.addHook("onRequest", async (request, reply) => {
  try {
    await request.jwtVerify();
  } catch {
    await reply.code(401).send();
  }
});
await gateway.register(rateLimit, {
  max: @{burst},
  timeWindow: "1 hour",
  hook: "preHandler",
  redis: new Redis(@{redis}, "127.0.0.1"),
  keyGenerator: (request) => request.user.sub,
});
await gateway.register(proxy, {
  upstream: "http://127.0.0.1:@{backend}",
  undici: { connections: 128, pipelining: 1 },
});
await gateway.listen({ host: "127.0.0.1", port: @{port} });
