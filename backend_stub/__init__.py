"""A small learning-management service that knows nothing of the proxy.

It stands in for the backend nobody may change: it validates what it is sent,
stores it in SQLite and answers as a Django REST service would.
"""
