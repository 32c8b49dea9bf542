FROM node:24-slim
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The carried Node is for machines with an older one.
RUN npm ci --omit=dev && rm -rf node_modules/node-linux-*
COPY prisma prisma
COPY shim shim
COPY src src
RUN mkdir /data && chown node:node /data
USER node
ENV NODE_ENV=production HOST=0.0.0.0 DATA_DIR=/data
VOLUME /data
EXPOSE 8008
HEALTHCHECK CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT ?? 8008}/health`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/main.ts"]
