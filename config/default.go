package config

import "time"

// Default returns the defaults of all keys.
func Default() Config {
	return Config{
		Listen: ":8080",
		Backend: Backend{
			ConnectTimeout: 2 * time.Second, ResponseTimeout: 60 * time.Second, IdleTimeout: 90 * time.Second,
			MaxConnections: 1024, PreserveHost: true,
		},
		Client: Client{
			HeadTimeout: 10 * time.Second, BodyTimeout: 60 * time.Second, SendTimeout: 60 * time.Second,
			IdleTimeout: 75 * time.Second,
		},
		WebSocket: WebSocket{
			Paths: []string{"/_push"}, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
			HandshakeTimeout: 10 * time.Second, MaxMessageSize: 64 * KiB, InboundTotal: 128 * MiB, RequestsInFlight: 16,
			Outbox: Outbox{Messages: 256, Bytes: MiB, Total: 512 * MiB},
		},
		Auth: Auth{
			JWT: JWT{
				Leeway: 30 * time.Second, UserClaim: "sub", ChannelsClaim: "channels", RequireExp: true,
				Sources: []string{"header", "query:access_token"},
			},
			Forward: Forward{
				Headers: []string{"Cookie", "Authorization", "User-Agent", "Accept-Language"}, Timeout: 5 * time.Second,
			},
		},
		Channels:     []ChannelRule{{Match: "**", Subscribe: Granted, Publish: Nobody, PresenceFrames: defaultPresenceFrames}},
		HistoryTotal: 256 * MiB,
		Users:        Users{OfflineDelay: 10 * time.Second, Publish: Nobody},
		Push:         Push{Listen: "127.0.0.1:8081", SocketMode: "0660", MaxBody: MiB},
		Webhook: Webhook{
			Timeout: 5 * time.Second, MaxAnswer: MiB,
			ForwardHeaders: ForwardHeaders{
				Connect: []string{"Cookie", "Authorization", "User-Agent", "Accept-Language"},
			},
			Outbox:      WebhookOutbox{Messages: 100_000, Bytes: 64 * MiB, Redis: 1_000_000},
			DeadLetters: DeadLetters{Messages: 10_000, Age: 7 * 24 * time.Hour},
			Format:      FormatBinary,
			Batch:       Batch{Events: 1},
			MaxInFlight: 256,
			OnError:     OnError{Connect: Deny, Subscribe: Deny, Publish: Deny},
			Breaker:     Breaker{Failures: 20, Pause: 5 * time.Second},
			Retry:       Retry{Min: 500 * time.Millisecond, Max: time.Minute, GiveUpAfter: 24 * time.Hour},
		},
		Redis:    Redis{Mode: RedisAuto, Prefix: "pushcart"},
		Limits:   Limits{PerUserPolicy: PolicyReject, ChannelsPerConnection: 128},
		Shutdown: Shutdown{Drain: 20 * time.Second},
		Admin:    Admin{Listen: "127.0.0.1:8082"},
		Log:      Log{Level: "info", Format: "text", Access: AccessOff},
	}
}
