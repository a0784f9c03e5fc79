"""What the services of a stand are told, as text with places to fill in."""

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{edge} ssl;
    ssl_certificate {folder}/edge.pem;
    ssl_certificate_key {folder}/edge.key;
    location / {{ proxy_pass http://127.0.0.1:{proxy}; }}
  }}
  server {{
    listen 127.0.0.1:{status};
    location / {{ stub_status; }}
  }}
}}
"""

TRIAL = """
version: 1
rules:
  - id: trial
    match: GET /api/me/trial
    allow: [admin]
    mode: shadow
"""
"""A rule that is tried out: it refuses nobody yet."""

PGBOUNCER = """
[databases]
lms = host=127.0.0.1 port={postgres} dbname=postgres user=lumina
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {pgbouncer}
unix_socket_dir =
auth_type = any
admin_users = lumina
pool_mode = transaction
ignore_startup_parameters = extra_float_digits
"""
