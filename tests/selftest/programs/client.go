// A client in Go, whose clock no library can set: it draws ticks of 100 ns and looks at what the reply says.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var env = os.Getenv

func cancel(client *http.Client, id string) string {
	nonce := strconv.FormatInt(time.Now().UnixNano()/100, 10)
	text := "apiKey=" + env("TN_API_KEY") + "&cmd=delTradeOrder&nonce=" + nonce + "&params=order_id=" + id
	mac := hmac.New(sha256.New, []byte(env("TN_API_SECRET")))
	mac.Write([]byte(text))
	form := url.Values{
		"apiKey": {env("TN_API_KEY")}, "cmd": {"delTradeOrder"}, "nonce": {nonce}, "params[order_id]": {id},
	}
	request, _ := http.NewRequest("POST", env("TN_BASE_URL")+"/api/v2/cmd/delTradeOrder", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("X-NtApi-Sig", hex.EncodeToString(mac.Sum(nil)))
	reply, err := client.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "not-sent"
	}
	if err != nil {
		return "unknown"
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	said := map[string]any{}
	if err != nil || reply.StatusCode >= 500 || json.Unmarshal(body, &said) != nil {
		return "unknown"
	}
	for _, name := range []string{"error", "errMsg", "errorMsg"} {
		if value, there := said[name]; there && value != nil && value != "" && value != false && value != 0.0 {
			return "rejected"
		}
	}
	if reply.StatusCode == 200 && fmt.Sprintf("%.0f", said["order_id"]) == id {
		return "accepted"
	}
	return "unknown"
}

func main() {
	seconds, _ := strconv.Atoi(env("TN_TIMEOUT"))
	client := &http.Client{
		Timeout:       time.Duration(seconds) * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, id := range strings.Split(env("TN_ORDER_IDS"), ",") {
		fmt.Printf("{\"outcome\": %q}\n", cancel(client, id))
	}
}
