import os

from concave import password_provider

auth_config = {
    "providers": [
        {
            "type": "customJwt",
            "issuer": "https://issuer.test",
            "jwks": os.environ["INTEROP_JWKS"],
            "algorithm": "ES256",
            "applicationID": "interop",
        },
        password_provider(),
    ]
}
