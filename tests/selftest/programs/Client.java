// A client in Java whose nonces are milliseconds: two cancels in quick succession get the same one.
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Client {
    public static void main(String[] arguments) throws Exception {
        var env = System.getenv();
        var wait = Duration.ofSeconds(Long.parseLong(env.get("TN_TIMEOUT")));
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        for (var id : env.get("TN_ORDER_IDS").split(",")) {
            var nonce = System.currentTimeMillis();
            var start = "apiKey=" + env.get("TN_API_KEY") + "&cmd=delTradeOrder&nonce=" + nonce;
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(env.get("TN_API_SECRET").getBytes(), "HmacSHA256"));
            var signature = HexFormat.of().formatHex(mac.doFinal((start + "&params=order_id=" + id).getBytes()));
            var request = HttpRequest.newBuilder(URI.create(env.get("TN_BASE_URL") + "/api/v2/cmd/delTradeOrder"))
                .timeout(wait)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .header("X-NtApi-Sig", signature)
                .POST(HttpRequest.BodyPublishers.ofString(start + "&params%5Border_id%5D=" + id))
                .build();
            var outcome = "unknown";
            try {
                var reply = client.send(request, HttpResponse.BodyHandlers.ofString());
                outcome = reply.body().contains("\"order_id\" : " + id) ? "accepted" : "unknown";
            } catch (ConnectException error) {
                outcome = "not-sent";
            } catch (java.io.IOException error) {
                // The reply was lost.
            }
            System.out.println("{\"outcome\": \"" + outcome + "\"}");
        }
    }
}
