package main

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"go.mau.fi/util/configupgrade"
	"go.mau.fi/util/ptr"
	"go.mau.fi/util/variationselector"
	"maunium.net/go/mautrix/bridgev2"
	"maunium.net/go/mautrix/bridgev2/database"
	"maunium.net/go/mautrix/bridgev2/networkid"
	"maunium.net/go/mautrix/bridgev2/status"
	"maunium.net/go/mautrix/event"
)

const exampleConfig = `file: network.jsonl
control: 127.0.0.1:29399
password: echo
portals: 20
ghosts: 10
history: 20
deep: 0
deep_history: 0
`

// echo is the connector of the whole bridge. The network has one account, so there is at most one login.
type echo struct {
	br  *bridgev2.Bridge
	cfg struct {
		File, Control, Password        string
		Portals, Ghosts, History, Deep int
		DeepHistory                    int `yaml:"deep_history"`
	}
	net   *network
	login atomic.Pointer[bridgev2.UserLogin]
	exact bool // see exact.go
}

func (e *echo) Init(br *bridgev2.Bridge) { e.br = br }

func (e *echo) Start(context.Context) (err error) {
	if e.net, err = openNetwork(e.cfg.File); err == nil {
		err = e.listen()
	}
	return err
}

func (e *echo) GetName() bridgev2.BridgeName {
	return bridgev2.BridgeName{DisplayName: "Echo", NetworkURL: "https://localhost/echo", NetworkID: "echo", BeeperBridgeType: "echo", DefaultPort: 29398}
}

func (e *echo) GetConfig() (string, any, configupgrade.Upgrader) {
	return exampleConfig, &e.cfg, configupgrade.SimpleUpgrader(func(h configupgrade.Helper) {
		for _, key := range []string{"file", "control", "password", "portals", "ghosts", "history", "deep", "deep_history"} {
			h.Copy(configupgrade.Str|configupgrade.Int, key)
		}
	})
}

func (e *echo) GetDBMetaTypes() (none database.MetaTypes) { return none }
func (e *echo) GetBridgeInfoVersion() (int, int)          { return 1, 1 }
func (e *echo) GetCapabilities() (none *bridgev2.NetworkGeneralCapabilities) {
	return &bridgev2.NetworkGeneralCapabilities{}
}

func (e *echo) GetLoginFlows() []bridgev2.LoginFlow {
	return []bridgev2.LoginFlow{{ID: "password", Name: "Password", Description: "User name and password"}}
}

func (e *echo) CreateLogin(_ context.Context, user *bridgev2.User, _ string) (bridgev2.LoginProcess, error) {
	return &passwordLogin{e, user}, nil
}

func (e *echo) LoadUserLogin(_ context.Context, login *bridgev2.UserLogin) error {
	login.Client = &client{e, login}
	return nil
}

type passwordLogin struct {
	*echo
	user *bridgev2.User
}

func (l *passwordLogin) Cancel() {}
func (l *passwordLogin) Start(context.Context) (*bridgev2.LoginStep, error) {
	return &bridgev2.LoginStep{
		Type: bridgev2.LoginStepTypeUserInput, StepID: "echo.password", Instructions: "Log in to the echo network",
		UserInputParams: &bridgev2.LoginUserInputParams{Fields: []bridgev2.LoginInputDataField{
			{Type: bridgev2.LoginInputFieldTypeUsername, ID: "username", Name: "User name"},
			{Type: bridgev2.LoginInputFieldTypePassword, ID: "password", Name: "Password"},
		}},
	}, nil
}

var accountName = regexp.MustCompile(`^[a-z]{1,32}$`) // no digits, so that it is never the id of a ghost

func (l *passwordLogin) SubmitUserInput(_ context.Context, in map[string]string) (*bridgev2.LoginStep, error) {
	name := in["username"]
	known := l.net.facts().Account
	if !accountName.MatchString(name) || in["password"] != l.cfg.Password || known != "" && known != name {
		return nil, bridgev2.RespError{ErrCode: "FI.ECHO.WRONG_PASSWORD", Err: "Wrong user name or password", StatusCode: 403}
	}
	if known == "" {
		_, _ = l.net.add(record{From: "remote", Kind: "login", Shape: &shape{name, l.cfg.Portals, l.cfg.Ghosts, l.cfg.History, l.cfg.Deep, l.cfg.DeepHistory}})
	}
	ctx := l.user.Log.WithContext(l.br.BackgroundCtx) // the request's own ends with the answer
	login, err := l.user.NewLogin(ctx, &database.UserLogin{ID: networkid.UserLoginID(name), RemoteName: name}, nil)
	if err != nil {
		return nil, err
	}
	go login.Client.Connect(ctx)
	return &bridgev2.LoginStep{
		Type: bridgev2.LoginStepTypeComplete, StepID: "echo.complete", Instructions: "Logged in as " + name,
		CompleteParams: &bridgev2.LoginCompleteParams{UserLoginID: login.ID, UserLogin: login},
	}, nil
}

// client is the account's connection to the network.
type client struct {
	*echo
	login *bridgev2.UserLogin
}

// Connect brings every chat up to date, as a real network does after a reconnection: rooms that do not exist are made,
// and messages that the bridge was killed over are caught up with, each by itself where a repetition does no harm.
func (c *client) Connect(ctx context.Context) {
	c.echo.login.Store(c.login)
	c.login.BridgeState.Send(status.BridgeState{StateEvent: status.StateConnected})
	for i := range c.net.facts().Portals {
		c.dispatch(c.login, record{Kind: "chat", Portal: i + 1, TS: time.Now().UnixMilli()})
		messages, _ := c.net.messages(i + 1)
		for _, m := range messages {
			if c.exact && m.From == "remote" && !m.Deleted && c.event(ctx, m.ID) == "" {
				c.dispatch(c.login, m)
			}
		}
	}
}

func (c *client) IsLoggedIn() bool                                      { return true }
func (c *client) Disconnect()                                           { c.echo.login.CompareAndSwap(c.login, nil) }
func (c *client) LogoutRemote(context.Context)                          { c.Disconnect() }
func (c *client) GetUserID() networkid.UserID                           { return networkid.UserID(c.login.ID) }
func (c *client) IsThisUser(_ context.Context, u networkid.UserID) bool { return u == c.GetUserID() }

func (c *client) GetCapabilities(context.Context, *bridgev2.Portal) *event.RoomFeatures {
	const full = event.CapLevelFullySupported
	return &event.RoomFeatures{ID: "echo.1", MaxTextLength: 65536, Edit: full, Delete: full, Reaction: full, ReadReceipts: true, TypingNotifications: true}
}

func (c *client) GetChatInfo(_ context.Context, portal *bridgev2.Portal) (*bridgev2.ChatInfo, error) {
	members := &bridgev2.ChatMemberList{IsFull: true, MemberMap: bridgev2.ChatMemberMap{}}
	for k := range c.net.facts().Ghosts + 1 {
		members.MemberMap.Add(bridgev2.ChatMember{EventSender: sender(c.login, k), Membership: event.MembershipJoin})
	}
	return &bridgev2.ChatInfo{Name: ptr.Ptr("Echo chat " + string(portal.ID)), Topic: ptr.Ptr("Made by echobridge"), Members: members, CanBackfill: true}, nil
}

func (c *client) GetUserInfo(_ context.Context, ghost *bridgev2.Ghost) (*bridgev2.UserInfo, error) {
	return &bridgev2.UserInfo{Name: ptr.Ptr("Echo " + string(ghost.ID)), Identifiers: []string{"echo:" + string(ghost.ID)}}, nil
}

// FetchMessages fills a new room (no anchor), catches up after a restart (forward) and pages back (backward).
func (c *client) FetchMessages(_ context.Context, p bridgev2.FetchMessagesParams) (*bridgev2.FetchMessagesResponse, error) {
	messages, err := c.net.messages(number(p.Portal))
	if err != nil || p.ThreadRoot != "" {
		return nil, err
	}
	wanted := slices.DeleteFunc(messages, func(m record) bool {
		if p.AnchorMessage == nil || m.Deleted {
			return m.Deleted
		} else if anchor := p.AnchorMessage.Timestamp.UnixMilli(); !p.Forward {
			return m.TS >= anchor
		} else {
			return m.TS <= anchor || m.Event != "" || c.exact && m.From == "remote" // what was written on Matrix is there already
		}
	})
	resp := &bridgev2.FetchMessagesResponse{Forward: p.Forward, HasMore: len(wanted) > p.Count, AggressiveDeduplication: true}
	for _, m := range wanted[max(0, len(wanted)-p.Count):] {
		resp.Messages = append(resp.Messages, &bridgev2.BackfillMessage{
			ConvertedMessage: convert(m), Sender: sender(c.login, m.Ghost), ID: networkid.MessageID(m.ID), Timestamp: time.UnixMilli(m.TS),
		})
	}
	return resp, nil
}

func (c *client) HandleMatrixMessage(_ context.Context, msg *bridgev2.MatrixMessage) (*bridgev2.MatrixMessageResponse, error) {
	r := &record{Kind: "message", Text: msg.Content.Body}
	if err := c.received(msg.Portal, msg.Event, r, nil); err != nil {
		return nil, err
	}
	return &bridgev2.MatrixMessageResponse{DB: &database.Message{ID: networkid.MessageID(r.ID), SenderID: c.GetUserID(), Timestamp: time.UnixMilli(r.TS)}}, nil
}

func (c *client) HandleMatrixEdit(_ context.Context, msg *bridgev2.MatrixEdit) error {
	return c.received(msg.Portal, msg.Event, &record{Kind: "edit", Text: msg.Content.Body}, msg.EditTarget)
}

func (c *client) PreHandleMatrixReaction(_ context.Context, msg *bridgev2.MatrixReaction) (bridgev2.MatrixReactionPreResponse, error) {
	emoji := variationselector.Remove(msg.Content.RelatesTo.Key)
	return bridgev2.MatrixReactionPreResponse{SenderID: c.GetUserID(), EmojiID: networkid.EmojiID(emoji), Emoji: emoji}, nil
}

func (c *client) HandleMatrixReaction(_ context.Context, msg *bridgev2.MatrixReaction) (*database.Reaction, error) {
	return nil, c.received(msg.Portal, msg.Event, &record{Kind: "reaction", Emoji: msg.PreHandleResp.Emoji}, msg.TargetMessage)
}

func (c *client) HandleMatrixReactionRemove(_ context.Context, msg *bridgev2.MatrixReactionRemove) error {
	was := &database.Message{ID: msg.TargetReaction.MessageID, MXID: msg.TargetReaction.MXID}
	return c.received(msg.Portal, msg.Event, &record{Kind: "reaction_remove", Emoji: string(msg.TargetReaction.EmojiID)}, was)
}

func (c *client) HandleMatrixMessageRemove(_ context.Context, msg *bridgev2.MatrixMessageRemove) error {
	return c.received(msg.Portal, msg.Event, &record{Kind: "redaction"}, msg.TargetMessage)
}

func (c *client) HandleMatrixReadReceipt(_ context.Context, msg *bridgev2.MatrixReadReceipt) error {
	return c.received(msg.Portal, nil, &record{Kind: "receipt", TargetEvent: msg.EventID}, msg.ExactMessage)
}

func (c *client) HandleMatrixTyping(_ context.Context, msg *bridgev2.MatrixTyping) error {
	return c.received(msg.Portal, nil, &record{Kind: "typing", Typing: msg.IsTyping}, nil)
}

// received journals what the bridge brought from Matrix; the error is the network's refusal.
func (c *client) received(portal *bridgev2.Portal, evt *event.Event, r *record, target *database.Message) (err error) {
	r.From, r.Portal, r.Sender = "matrix", number(portal), c.login.UserMXID
	if evt != nil {
		r.Event, r.Sender = evt.ID, evt.Sender
	}
	if target != nil {
		r.Target, r.TargetEvent = string(target.ID), target.MXID
	}
	*r, err = c.net.add(*r)
	return err
}

func number(p *bridgev2.Portal) int {
	n, _ := strconv.Atoi(string(p.ID)) // 0, which no chat has, where it is no number
	return n
}
