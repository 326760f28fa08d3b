package config

// What Redis may be run as, see Redis.Mode.
const (
	RedisAuto       = "auto"
	RedisStandalone = "standalone"
	RedisSentinel   = "sentinel"
	RedisCluster    = "cluster"
)

// Redis connects the nodes. Without addresses there is one node, in memory.
type Redis struct {
	// Addresses are host:port, redis:// or rediss:// URLs or unix:/path: of sentinels, of any
	// servers of a Cluster, or of one server and those that may take its place.
	Addresses []string `yaml:"addresses"`
	// Mode is auto, standalone, sentinel or cluster. Default auto: the first address that
	// answers decides.
	Mode string `yaml:"mode"`
	// MasterName is the sentinels' name for the master. It may be empty if they watch
	// only one.
	MasterName string `yaml:"master_name"`
	// Username for ACL AUTH.
	Username string `yaml:"username"`
	// Password for AUTH.
	Password Secret `yaml:"password"`
	// PasswordFile holds Password; a trailing newline is cut. Each new connection reads it.
	PasswordFile string `yaml:"password_file"`
	// SentinelUsername for ACL AUTH at sentinels, which have users of their own.
	SentinelUsername string `yaml:"sentinel_username"`
	// SentinelPassword for AUTH at sentinels.
	SentinelPassword Secret `yaml:"sentinel_password"`
	// SentinelPasswordFile holds SentinelPassword; a trailing newline is cut. Each new
	// connection reads it.
	SentinelPasswordFile string `yaml:"sentinel_password_file"`
	// Database is the number to SELECT. Default 0.
	Database int `yaml:"database"`
	// TLS to Redis, and to sentinels.
	TLS RedisTLS `yaml:"tls"`
	// Prefix begins every key and channel. Default pushcart.
	Prefix string `yaml:"prefix"`
}

// RedisTLS says how Redis is reached over TLS.
type RedisTLS struct {
	// Enabled turns TLS on; rediss:// does too.
	Enabled bool `yaml:"enabled"`
	// CAFile is a PEM bundle trusted instead of the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are the client certificate.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the client certificate's key.
	KeyFile string `yaml:"key_file"`
	// ServerName is verified instead of the host of each server's address.
	ServerName string `yaml:"server_name"`
	// Insecure skips verification.
	Insecure bool `yaml:"insecure"`
}
