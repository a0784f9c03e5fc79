"""Makes the dashboards: ``python -m grafana.generate`` writes ``grafana/dashboards``.

What Grafana is provisioned with is the JSON that is committed; a test fails when it is
not what comes out of here. Hand-written JSON would say everything forty times.
"""
