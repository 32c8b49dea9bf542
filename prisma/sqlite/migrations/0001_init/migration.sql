-- CreateTable
CREATE TABLE "appservice" (
    "instance" INTEGER NOT NULL,
    "key" BIGINT NOT NULL,
    "id" TEXT NOT NULL,
    "asToken" TEXT NOT NULL,
    "hsToken" TEXT NOT NULL,
    "url" TEXT,
    "bot" BIGINT NOT NULL,
    "registration" TEXT NOT NULL,
    "setBy" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "cursor" BIGINT NOT NULL,
    "createdAt" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "key")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "interest" (
    "instance" INTEGER NOT NULL,
    "appservice" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,
    "room" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "appservice", "position")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "frozen" (
    "instance" INTEGER NOT NULL,
    "appservice" BIGINT NOT NULL,
    "txnId" TEXT NOT NULL,
    "end" BIGINT NOT NULL,
    "events" TEXT NOT NULL,
    "parts" TEXT NOT NULL,
    "createdAt" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "appservice")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "bridge_state" (
    "instance" INTEGER NOT NULL,
    "appservice" BIGINT NOT NULL,
    "remoteId" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "ts" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "appservice", "remoteId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "checkpoint" (
    "instance" INTEGER NOT NULL,
    "eventId" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "appservice" BIGINT NOT NULL,
    "status" TEXT NOT NULL,
    "checkpoint" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "eventId", "step")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "job" (
    "instance" INTEGER NOT NULL,
    "key" BIGINT NOT NULL,
    "kind" TEXT NOT NULL,
    "arguments" TEXT NOT NULL,
    "cursor" TEXT NOT NULL,
    "done" BIGINT NOT NULL,
    "total" BIGINT NOT NULL,
    "error" TEXT,
    "createdAt" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "key")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "media" (
    "instance" INTEGER NOT NULL,
    "mediaId" TEXT NOT NULL,
    "user" BIGINT NOT NULL,
    "contentType" TEXT,
    "fileName" TEXT,
    "sizeBytes" BIGINT,
    "createdAt" BIGINT NOT NULL,
    "uploadedAt" BIGINT,
    "expiresAt" BIGINT,

    PRIMARY KEY ("instance", "mediaId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "instance" (
    "key" INTEGER NOT NULL PRIMARY KEY,
    "name" TEXT,
    "owner" TEXT NOT NULL,
    "userDomain" TEXT NOT NULL,
    "bridgeDomain" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "createdAt" BIGINT NOT NULL
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "ownership" (
    "instance" INTEGER NOT NULL PRIMARY KEY,
    "owner" TEXT NOT NULL,
    "epoch" BIGINT NOT NULL,
    "leaseUntil" BIGINT NOT NULL,
    "ceiling" BIGINT NOT NULL,
    "clean" INTEGER NOT NULL
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "secret" (
    "hash" TEXT NOT NULL PRIMARY KEY,
    "kind" TEXT NOT NULL,
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "device" TEXT,
    "appservice" BIGINT,
    "expiresAt" BIGINT
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "owner_id" (
    "userId" TEXT NOT NULL PRIMARY KEY,
    "instance" INTEGER NOT NULL
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "media_id" (
    "mediaId" TEXT NOT NULL PRIMARY KEY,
    "instance" INTEGER NOT NULL
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "room" (
    "instance" INTEGER NOT NULL,
    "key" BIGINT NOT NULL,
    "roomId" TEXT NOT NULL,
    "version" TEXT NOT NULL,
    "creator" BIGINT NOT NULL,
    "appservice" BIGINT,
    "lowest" BIGINT NOT NULL,
    "listed" INTEGER NOT NULL,
    "createdAt" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "key")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "alias" (
    "instance" INTEGER NOT NULL,
    "alias" TEXT NOT NULL,
    "room" BIGINT NOT NULL,
    "creator" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "alias")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "event" (
    "instance" INTEGER NOT NULL,
    "room" BIGINT NOT NULL,
    "order" BIGINT NOT NULL,
    "eventId" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "stateKey" TEXT,
    "sender" BIGINT NOT NULL,
    "ts" BIGINT NOT NULL,
    "replaces" BIGINT,
    "redactedBy" BIGINT,
    "device" TEXT,
    "txnId" TEXT,
    "json" TEXT NOT NULL,

    PRIMARY KEY ("instance", "room", "order")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "state" (
    "instance" INTEGER NOT NULL,
    "room" BIGINT NOT NULL,
    "type" TEXT NOT NULL,
    "stateKey" TEXT NOT NULL,
    "order" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "room", "type", "stateKey")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "membership" (
    "instance" INTEGER NOT NULL,
    "room" BIGINT NOT NULL,
    "user" BIGINT NOT NULL,
    "membership" TEXT NOT NULL,
    "order" BIGINT NOT NULL,
    "since" BIGINT NOT NULL,
    "sender" BIGINT NOT NULL,
    "displayName" TEXT,
    "avatarUrl" TEXT,
    "forgotten" INTEGER NOT NULL,

    PRIMARY KEY ("instance", "room", "user")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "relation" (
    "instance" INTEGER NOT NULL,
    "room" BIGINT NOT NULL,
    "parent" TEXT NOT NULL,
    "order" BIGINT NOT NULL,
    "relType" TEXT NOT NULL,
    "type" TEXT NOT NULL,
    "sender" BIGINT NOT NULL,
    "key" TEXT,

    PRIMARY KEY ("instance", "room", "parent", "order")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "receipt" (
    "instance" INTEGER NOT NULL,
    "room" BIGINT NOT NULL,
    "user" BIGINT NOT NULL,
    "type" TEXT NOT NULL,
    "thread" TEXT NOT NULL,
    "eventId" TEXT NOT NULL,
    "order" BIGINT NOT NULL,
    "ts" BIGINT NOT NULL,
    "extra" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "room", "user", "type", "thread")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "notification" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "room" BIGINT NOT NULL,
    "order" BIGINT NOT NULL,
    "thread" TEXT NOT NULL,
    "highlight" INTEGER NOT NULL,

    PRIMARY KEY ("instance", "user", "room", "order")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "departure" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "room" BIGINT NOT NULL,
    "roomId" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "room")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "user" (
    "instance" INTEGER NOT NULL,
    "key" BIGINT NOT NULL,
    "userId" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "appservice" BIGINT,
    "passwordHash" TEXT,
    "displayName" TEXT,
    "avatarUrl" TEXT,
    "profile" TEXT NOT NULL,
    "admin" INTEGER NOT NULL,
    "syncs" INTEGER NOT NULL,
    "status" TEXT NOT NULL,
    "createdAt" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "key")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "device" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "deviceId" TEXT NOT NULL,
    "displayName" TEXT,
    "lastSeenTs" BIGINT NOT NULL,
    "lastSeenIp" TEXT,
    "createdAt" BIGINT NOT NULL,
    "accessHash" TEXT,
    "refreshHash" TEXT,
    "oldHashes" TEXT,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "deviceId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "account_data" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "room" BIGINT NOT NULL,
    "type" TEXT NOT NULL,
    "content" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "room", "type")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "filter" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "filterId" TEXT NOT NULL,
    "json" TEXT NOT NULL,

    PRIMARY KEY ("instance", "user", "filterId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "transaction" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "device" TEXT NOT NULL,
    "scope" TEXT NOT NULL,
    "txnId" TEXT NOT NULL,
    "answer" TEXT NOT NULL,
    "createdAt" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user", "device", "scope", "txnId")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "registration_token" (
    "instance" INTEGER NOT NULL,
    "token" TEXT NOT NULL,
    "usesAllowed" INTEGER,
    "used" INTEGER NOT NULL,
    "expiresAt" BIGINT,

    PRIMARY KEY ("instance", "token")
) WITHOUT ROWID;

-- CreateIndex
CREATE UNIQUE INDEX "appservice_instance_id_key" ON "appservice"("instance", "id");

-- CreateIndex
CREATE INDEX "checkpoint_instance_position_idx" ON "checkpoint"("instance", "position");

-- CreateIndex
CREATE INDEX "media_instance_expiresAt_idx" ON "media"("instance", "expiresAt");

-- CreateIndex
CREATE UNIQUE INDEX "instance_name_key" ON "instance"("name");

-- CreateIndex
CREATE INDEX "secret_instance_user_idx" ON "secret"("instance", "user");

-- CreateIndex
CREATE UNIQUE INDEX "room_instance_roomId_key" ON "room"("instance", "roomId");

-- CreateIndex
CREATE INDEX "alias_instance_room_idx" ON "alias"("instance", "room");

-- CreateIndex
CREATE INDEX "event_instance_order_idx" ON "event"("instance", "order");

-- CreateIndex
CREATE UNIQUE INDEX "event_instance_room_eventId_key" ON "event"("instance", "room", "eventId");

-- CreateIndex
CREATE INDEX "membership_instance_user_idx" ON "membership"("instance", "user");

-- CreateIndex
CREATE INDEX "receipt_instance_room_position_idx" ON "receipt"("instance", "room", "position");

-- CreateIndex
CREATE INDEX "departure_instance_user_position_idx" ON "departure"("instance", "user", "position");

-- CreateIndex
CREATE INDEX "user_instance_appservice_idx" ON "user"("instance", "appservice");

-- CreateIndex
CREATE UNIQUE INDEX "user_instance_userId_key" ON "user"("instance", "userId");

-- CreateIndex
CREATE INDEX "account_data_instance_user_position_idx" ON "account_data"("instance", "user", "position");

-- CreateIndex
CREATE INDEX "transaction_instance_createdAt_idx" ON "transaction"("instance", "createdAt");


