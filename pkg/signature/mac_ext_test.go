package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// macOf is HMAC-SHA256 with the RFC's shared secret, with nothing of ours.
func macOf(content string) string {
	secret, _ := base64.StdEncoding.DecodeString("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(content))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
