package server;

import org.eclipse.hawkbit.autoconfigure.security.EnableHawkbitManagedSecurityConfiguration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** hawkBit with all that its libraries configure by themselves. */
@SpringBootApplication
@EnableHawkbitManagedSecurityConfiguration
public class Server {
    public static void main(String[] arguments) {
        SpringApplication.run(Server.class, arguments);
        // It ends with whoever started it, however that one ends: then its standard input closes.
        try {
            while (System.in.read() >= 0) {
            }
        } catch (java.io.IOException gone) {
            // The same.
        }
        Runtime.getRuntime().halt(0);
    }
}
