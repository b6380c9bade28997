import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.X509CertSelector;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

/**
 * A receiver of the JDK's own server: java Receiver.java PORT CONTROL-PORT TLS-VERSION
 * It reads its keys from the working directory. The control port tells how many requests and body bytes have come.
 */
public class Receiver {
  public static void main(String[] arguments) throws Exception {
    AtomicLong requests = new AtomicLong();
    AtomicLong bytes = new AtomicLong();
    InetAddress loopback = InetAddress.getByName("127.0.0.1");

    HttpsServer server = HttpsServer.create(new InetSocketAddress(loopback, Integer.parseInt(arguments[0])), 0);
    SSLContext context = context();
    String[] version = {arguments[2]};
    server.setHttpsConfigurator(new HttpsConfigurator(context) {
      @Override
      public void configure(HttpsParameters parameters) {
        SSLParameters ssl = context.getDefaultSSLParameters();
        ssl.setNeedClientAuth(true);
        ssl.setProtocols(version);
        parameters.setSSLParameters(ssl);
      }
    });
    server.createContext("/", exchange -> {
      requests.incrementAndGet();
      byte[] buffer = new byte[8192];
      try (InputStream body = exchange.getRequestBody()) {
        for (int n = body.read(buffer); n >= 0; n = body.read(buffer)) {
          bytes.addAndGet(n);
        }
      }
      exchange.sendResponseHeaders(204, -1);
      exchange.close();
    });
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.start();

    HttpServer control = HttpServer.create(new InetSocketAddress(loopback, Integer.parseInt(arguments[1])), 0);
    control.createContext("/", exchange -> {
      byte[] text = (requests + " " + bytes + "\n").getBytes();
      exchange.sendResponseHeaders(200, text.length);
      exchange.getResponseBody().write(text);
      exchange.close();
    });
    control.start();
  }

  private static SSLContext context() throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509");
    String pem = Files.readString(Path.of("server.key")).replaceAll("-----[A-Z ]+-----|\\s", "");
    PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    KeyStore own = KeyStore.getInstance("PKCS12");
    own.load(null, null);
    try (InputStream in = Files.newInputStream(Path.of("server.pem"))) {
      own.setKeyEntry("server", key, new char[0], factory.generateCertificates(in).toArray(new Certificate[0]));
    }
    KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(own, new char[0]);

    KeyStore roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    try (InputStream in = Files.newInputStream(Path.of("ca.pem"))) {
      roots.setCertificateEntry("clients", factory.generateCertificate(in));
    }
    PKIXBuilderParameters rules = new PKIXBuilderParameters(roots, new X509CertSelector());
    rules.setRevocationEnabled(true);
    try (InputStream in = Files.newInputStream(Path.of("crl.pem"))) {
      rules.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(factory.generateCRLs(in))));
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(new CertPathTrustManagerParameters(rules));

    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
    return context;
  }
}
